package soak

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kind is what an action does.
type Kind string

// The edits, which people make.
const (
	Select     Kind = "select"     // a Deployment gets selector Value; it is created if it is not there
	Score      Kind = "score"      // a Deployment gets score Value; the same
	Remove     Kind = "remove"     // a Deployment is deleted
	Label      Kind = "label"      // a Device gets the label tier=Value
	Quarantine Kind = "quarantine" // a Device is set aside, or taken back
	Reset      Kind = "reset"      // a Device is deleted; its agent registers again
)

// The faults, which are healed at the end of their round at the latest.
const (
	KillService  Kind = "kill"       // SIGKILL and start of a service
	StopService  Kind = "restart"    // SIGTERM and start of a service
	PauseService Kind = "pause"      // SIGSTOP of a service
	CutNATS      Kind = "cut"        // connections of a service to NATS are cut once
	RefuseNATS   Kind = "refuse"     // a service does not reach NATS
	RefuseKube   Kind = "apiserver"  // the patcher does not reach the apiserver
	KillNATS     Kind = "nats"       // SIGKILL and start of the NATS server
	DeleteStream Kind = "drop"       // the stream of a bucket is deleted
	PurgeStream  Kind = "purge"      // all messages of a bucket are removed
	WipeStore    Kind = "wipe"       // SIGKILL and start of the NATS server with nothing stored
	WriteByHand  Kind = "hand"       // a key of desired-state is written by somebody else than the reconciler
	CutDevices   Kind = "disconnect" // the devices do not reach NATS
)

var (
	edits  = []Kind{Select, Select, Score, Score, Remove, Label, Quarantine, Reset}
	faults = []Kind{KillService, KillService, StopService, PauseService, CutNATS, RefuseNATS, RefuseKube, KillNATS, DeleteStream, PurgeStream, WipeStore, WriteByHand, CutDevices}
)

// Action is one thing that is done. Target and Value are taken modulo what there is of them.
type Action struct {
	Kind   Kind
	Target int
	Value  int
	Pause  time.Duration // before the next
}

func (a Action) String() string {
	return fmt.Sprintf("%s %d %d, then %s", a.Kind, a.Target, a.Value, a.Pause)
}

// Round is what is done between two quiet points.
type Round []Action

// RoundOf is round n of the schedule of a seed: edits, with a fault or two among them.
func RoundOf(seed uint64, n int) Round {
	random := rand.New(rand.NewPCG(seed, uint64(n)))
	var round Round
	for range 2 + random.IntN(4) {
		round = append(round, action(random, edits))
	}
	for range 1 + random.IntN(2) {
		round = slices.Insert(round, random.IntN(len(round)+1), action(random, faults))
	}
	return round
}

func action(random *rand.Rand, kinds []Kind) Action {
	return Action{
		Kind: kinds[random.IntN(len(kinds))], Target: random.IntN(1000), Value: random.IntN(1000),
		Pause: time.Duration(random.IntN(1500)) * time.Millisecond,
	}
}

// Text is a schedule as it is printed, one action a line.
func Text(rounds []Round) string {
	var b strings.Builder
	for n, round := range rounds {
		fmt.Fprintf(&b, "round %d\n", n+1)
		for _, a := range round {
			fmt.Fprintf(&b, "  %s\n", a)
		}
	}
	return b.String()
}

// Shorten leaves out of a schedule what is not needed for it to fail: whole rounds first, in ever smaller
// parts, then single actions of what is left. It tries at most so many schedules; fails reports whether
// one fails.
func Shorten(rounds []Round, tries int, fails func([]Round) bool) []Round {
	rounds = reduce(rounds, &tries, fails)
	for n := range rounds {
		round := reduce(rounds[n], &tries, func(r Round) bool {
			return fails(slices.Concat(rounds[:n], []Round{r}, rounds[n+1:]))
		})
		rounds = slices.Concat(rounds[:n], []Round{round}, rounds[n+1:])
	}
	return slices.DeleteFunc(rounds, func(r Round) bool { return len(r) == 0 })
}

// reduce is delta debugging (Zeller and Hildebrandt, 2002), by complements only.
func reduce[S ~[]E, E any](all S, tries *int, fails func(S) bool) S {
	for parts := 2; len(all) > 1 && *tries > 0; {
		size := (len(all) + parts - 1) / parts
		reduced := false
		for start := 0; start < len(all) && *tries > 0; start += size {
			rest := slices.Concat(all[:start], all[min(start+size, len(all)):])
			*tries--
			if fails(rest) {
				all, reduced = rest, true
				break
			}
		}
		switch {
		case reduced:
			parts = max(parts-1, 2)
		case size == 1:
			return all
		default:
			parts = min(2*parts, len(all))
		}
	}
	return all
}
