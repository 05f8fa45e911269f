package invariant

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// brake: of the fenced deletes in desired-state whose cause is doubtful (fleet.Cause.Doubtful)
//
//   - none stands behind a "_hold" that nobody approved and that was not removed;
//   - in no time as long as the brake's window they take more than its percentage of the keys and at least its
//     minimum, the keys being those before the first of them was planned;
//   - none of a resource that vanished is written while the mirror has no other Deployment, or Device, that lives.
//
// Under an approved hold as many pass as its record says. (Design, section 5, Brake.)
//
// The window, percentage and minimum are those of the flags with which the reconcilers were started, the loosest
// when they differ; the design's where none are recorded. The count is what a reconciler can see: it begins anew
// when the bucket was lost or restored, and a key that was put again does not count. The number of keys is the
// greatest that may have been there within [planSlack] before, or before that when a reconciler was stopped
// meanwhile; each message that was not seen counts as one. A hold that somebody else wrote or deleted is none, and
// the mirror is judged as mayBelieve does. Of each stream only the first delete past a limit is reported, after
// which the count begins anew.
func brake(h *history) []Violation {
	var found []Violation
	flags, alone := brakeFlags(h.events), h.lonely()
	for i, s := range h.streams[fleet.BucketDesiredState] {
		b := braking{h: h, flags: flags, alone: alone, begin: h.events[0].At, doubts: map[string]*operation{}, keys: map[string]bool{}}
		if i > 0 {
			b.begin = s.ops[0].at.Add(-lossSlack) // what is older was judged before the stream was restored
		}
		for i := range s.ops {
			if message := b.apply(&s.ops[i]); message != "" {
				found = append(found, violation(s.ops[i].event, "%s", message))
			}
		}
	}
	return found
}

// brakeLimits are what a reconciler's brake lets pass.
type brakeLimits struct {
	window       time.Duration
	percent, min int
}

// brakeFlags returns the loosest limits of all reconcilers that were started.
func brakeFlags(events record.Recording) brakeLimits {
	limits := brakeLimits{window: 10 * time.Minute, percent: 20, min: 10}
	for _, args := range startedWith(events, fleet.ServiceReconciler) {
		if d, err := time.ParseDuration(flag(args, "brake-window")); err == nil {
			limits.window = min(limits.window, d)
		}
		if n, err := strconv.Atoi(flag(args, "brake-percent")); err == nil {
			limits.percent = max(limits.percent, n)
		}
		if n, err := strconv.Atoi(flag(args, "brake-min")); err == nil {
			limits.min = max(limits.min, n)
		}
	}
	return limits
}

// startedWith returns the arguments of the processes of a service that were started.
func startedWith(events record.Recording, service string) (all [][]string) {
	for _, e := range events {
		if p := e.Process; p != nil && p.Kind == record.ProcessStarted && p.Service == service {
			all = append(all, p.Args)
		}
	}
	return all
}

// flag returns the last value of a flag, "" when it is not among the arguments.
func flag(args []string, name string) string {
	for i, a := range slices.Backward(args) {
		switch a, value, joined := strings.Cut(strings.TrimLeft(a, "-"), "="); {
		case a != name:
		case joined:
			return value
		case i+1 < len(args):
			return args[i+1]
		}
	}
	return ""
}

// braking follows one incarnation of desired-state.
type braking struct {
	h      *history
	flags  brakeLimits
	alone  map[string][]period
	begin  time.Time
	last   time.Time // when an operation was recorded last
	keys   map[string]bool
	peak   peak
	doubts map[string]*operation // doubtful deletes that no approval covers, by key, until it is put again
	hold   *fleet.Hold
	passed int  // doubtful deletes under the approved hold
	alarm  bool // that the last resource went was reported
}

// apply says what is wrong with an operation.
func (b *braking) apply(o *operation) string {
	if b.h.lost(o.Bucket, b.last, o.at.Add(lossSlack)) {
		b.hold, b.passed = nil, 0
		clear(b.doubts)
	}
	b.last = o.at
	pair, err := fleet.ParseDesiredKey(o.Key)
	switch {
	case o.Key == fleet.KeyHold:
		b.holds(o)
	case err != nil:
	case o.Kind == record.OpPut:
		b.keys[o.Key] = true
		delete(b.doubts, o.Key)
		b.peak.add(o.at, len(b.keys))
	default:
		message := ""
		if o.own && o.Kind == record.OpDelete && o.Cause.Doubtful() && !o.stamp().Before(b.begin) {
			message = b.doubt(pair, o)
		}
		delete(b.keys, o.Key)
		b.peak.add(o.at, len(b.keys))
		return message
	}
	return ""
}

// holds takes in an operation on the hold.
func (b *braking) holds(o *operation) {
	was := b.hold
	b.hold = nil
	if h, err := fleet.DecodeHold([]byte(o.Value)); err == nil && o.own && o.Kind == record.OpPut {
		b.hold = &h
	}
	if was == nil || b.hold == nil || was.ID != b.hold.ID || !was.Approved {
		b.passed = 0
	}
}

// doubt takes in a doubtful delete, and says what is wrong with it.
func (b *braking) doubt(pair fleet.Pair, o *operation) string {
	switch {
	case b.hold == nil:
	case !b.hold.Approved:
		id := b.hold.ID
		b.hold = nil
		return text("%s was deleted at revision %d (%s) under %s, which nobody approved", o.Key, o.Revision, o.Cause, id)
	case b.passed < b.hold.Deletes:
		b.passed++
		return ""
	}
	b.doubts[o.Key] = o
	from := b.h.planned(o)
	taken, before := b.recent(o, from)
	// Those keys of which some were taken: as they are now, less this one, or as they were when it was planned.
	keys := max(taken+len(b.keys)-1, before+b.peak.since(from)) + int(o.unseen)
	if taken >= b.flags.min && taken*100 > b.flags.percent*keys {
		clear(b.doubts)
		return text("%s was deleted at revision %d (%s): with it %d of %d keys went within %s for doubtful causes, and no hold was approved", o.Key, o.Revision, o.Cause, taken, keys, b.flags.window)
	}
	if kind := b.takesLast(pair, o, from); kind != "" && !b.alarm {
		b.alarm = true
		return text("%s was deleted at revision %d (%s) though no %s was left, and no hold was approved", o.Key, o.Revision, o.Cause, kind)
	}
	return ""
}

// recent counts the doubtful deletes of the window that a reconciler could not have forgotten yet when it planned
// one, and those of them that came before a time.
func (b *braking) recent(o *operation, from time.Time) (taken, before int) {
	oldest := o.stamp().Add(planSlack - b.flags.window)
	for key, d := range b.doubts {
		switch {
		case d.stamp().Before(oldest):
			delete(b.doubts, key)
		case d.stamp().Before(from):
			before++
		}
	}
	return len(b.doubts), before
}

// takesLast returns the kind of which no resource was left when a delete was planned, because of which it is.
func (b *braking) takesLast(pair fleet.Pair, o *operation, from time.Time) string {
	if o.Cause != fleet.CauseVanished || !b.h.complete(fleet.BucketResources, time.Time{}, o.at.Add(deliverySlack)) {
		return ""
	}
	absent := map[string]bool{
		fleet.KindDeployment: !b.h.mayBelieve(pair, o, func(p, _ state) bool { return p.is != nil }),
		fleet.KindDevice:     !b.h.mayBelieve(pair, o, func(_, d state) bool { return d.is != nil }),
	}
	for _, kind := range []string{fleet.KindDeployment, fleet.KindDevice} {
		until := o.at.Add(deliverySlack)
		if absent[kind] && slices.ContainsFunc(b.alone[kind], func(p period) bool { return p.from.Before(from) && p.to.After(until) }) {
			return kind
		}
	}
	return ""
}

// lonely returns the times in which the mirror had no resource of a kind that lives and is not being deleted.
func (h *history) lonely() map[string][]period {
	type step struct {
		at time.Time
		n  int
	}
	steps := map[string][]step{}
	for key, l := range h.mirror() {
		kind, _ := splitLine(key)
		was := 0
		for _, s := range l {
			is := 0
			if s.unsure || s.is != nil && !s.is.deleting {
				is = 1
			}
			if is != was {
				steps[kind] = append(steps[kind], step{s.from, is - was})
			}
			was = is
		}
	}
	all := map[string][]period{}
	for _, kind := range []string{fleet.KindDeployment, fleet.KindDevice} {
		slices.SortStableFunc(steps[kind], func(a, b step) int { return a.at.Compare(b.at) })
		n, since := 0, time.Time{}
		for _, s := range steps[kind] {
			if n == 0 {
				all[kind] = append(all[kind], period{since, s.at})
			}
			n, since = n+s.n, s.at
		}
		if n == 0 {
			all[kind] = append(all[kind], period{since, h.end.Add(time.Hour)})
		}
	}
	return all
}

// peak knows the greatest of the last values of a number: each that no later one exceeds, and since when it was.
type peak []struct {
	at time.Time
	n  int
}

// add takes in that the number is n from a time on.
func (p *peak) add(at time.Time, n int) {
	kept := *p
	for len(kept) > 0 && kept[len(kept)-1].n <= n {
		kept = kept[:len(kept)-1]
	}
	*p = append(kept, struct {
		at time.Time
		n  int
	}{at, n})
}

// since returns the greatest value of a time that goes until now; it never begins sooner than at the last call.
func (p *peak) since(from time.Time) int {
	for len(*p) > 1 && !(*p)[1].at.After(from) {
		*p = (*p)[1:]
	}
	if len(*p) == 0 {
		return 0
	}
	return (*p)[0].n
}
