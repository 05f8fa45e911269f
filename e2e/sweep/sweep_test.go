package sweep

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// late is how long a delivery that comes late is held up: longer than the idle heartbeat of a consumer.
const late = 2 * time.Second

// reference is what a story comes to when nothing happens.
type reference struct {
	outcomes   []map[string]string // after each step
	operations map[string]string
}

// theatre is one stack on which stories are told.
type theatre struct {
	t         *testing.T
	stack     *lab.Stack
	instances []*lab.Instance
	observers []*observer
	told      int
}

func newTheatre(t *testing.T) *theatre {
	th := &theatre{t: t, stack: lab.New(t, lab.Options{})}
	for _, name := range fleet.Services() {
		i := th.stack.Start(name)
		th.instances = append(th.instances, i)
		th.observers = append(th.observers, observe(i))
	}
	th.stack.WaitReady(len(th.instances))
	return th
}

func (th *theatre) story() *story {
	th.told++
	return &story{stack: th.stack, name: fmt.Sprintf("s%03d", th.told)}
}

// TestSweep kills the acting process after each of its effects, one telling each. SWEEP=n takes n of the
// cases by the seed instead of all; SEED=n picks others, and which deliveries are lost or late.
func TestSweep(t *testing.T) {
	seed := lab.Seed(t)
	random := rand.New(rand.NewPCG(seed, 0))
	th := newTheatre(t)
	want, effects, deliveries := th.refer()
	if len(effects) < 30 {
		t.Errorf("a story has %d effects, too few for a sweep: %v", len(effects), effects)
	}
	sample := len(effects)
	if text := os.Getenv("SWEEP"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("SWEEP=%q: want a number of cases", text)
		}
		sample = min(n, len(effects))
	}
	reached := 0
	for _, n := range random.Perm(len(effects))[:sample] {
		if th.kill(effects[n], want) {
			reached++
		}
	}
	if reached*10 < sample*8 {
		t.Errorf("only %d of %d effects were reached", reached, sample)
	}
	disturbed := min(max(sample/4, 2), len(deliveries))
	came := 0
	for i, n := range random.Perm(len(deliveries))[:disturbed] {
		if th.disturb(deliveries[n], i%2 == 0, want) {
			came++
		}
	}
	if came == 0 || came*10 < disturbed*8 {
		t.Errorf("only %d of %d deliveries came, of %d that are known", came, disturbed, len(deliveries))
	}
	th.stack.AtRest()
	lab.Report(t, lab.Run{
		Name: "sweep", Command: fmt.Sprintf("make sweep SEED=%d", seed) + map[bool]string{true: "", false: fmt.Sprintf(" SWEEP=%d", sample)}[sample == len(effects)],
		Result: fmt.Sprintf("killed after %d of %d effects, %d deliveries lost or late: %s",
			reached, len(effects), came, map[bool]string{true: "failed", false: "same bytes and writes"}[t.Failed()]),
		Passed: !t.Failed(),
	})
}

// refer tells the story undisturbed.
func (th *theatre) refer() (reference, []Effect, []Effect) {
	for _, o := range th.observers {
		o.begin(nil, nil)
	}
	var ref reference
	s := th.story()
	for _, st := range steps() {
		st.do(s)
		th.stack.Eventually(30*time.Second, st.name, func(ctx context.Context) error { return st.done(ctx, s) })
		ref.outcomes = append(ref.outcomes, s.outcome(th.stack.AtRest()))
	}
	ref.operations = s.operations(th.stack.Recorded())
	var effects, deliveries []Effect
	for _, o := range th.observers {
		e, d := o.counted()
		effects, deliveries = append(effects, e...), append(deliveries, d...)
	}
	slices.SortStableFunc(effects, func(a, b Effect) int { return strings.Compare(a.Service, b.Service) })
	for _, e := range effects {
		th.t.Log(e)
	}
	return ref, effects, deliveries
}

// kill tells the story and kills the process that makes an effect when it has made it. It reports whether
// it came to that: some effects are not the same in every telling.
func (th *theatre) kill(e Effect, want reference) bool {
	hit, dead := make(chan struct{}), make(chan struct{})
	ended, stop := context.WithCancel(th.t.Context())
	defer stop()
	i, o := th.of(e)
	o.begin(func(got Effect) {
		if got == e {
			close(hit)
			select { // the process must not learn of it
			case <-dead:
			case <-ended.Done():
			}
		}
	}, nil)
	reached := false
	killer := make(chan struct{})
	go func() {
		defer close(killer)
		select {
		case <-hit:
			reached = true
			th.stack.Injected("kill-after-effect", e.String())
			i.Kill()
			close(dead)
			i.Start()
		case <-ended.Done():
		}
	}()
	th.tell(fmt.Sprintf("killed after %s", e), want)
	stop()
	<-killer
	return reached
}

// disturb tells the story and loses a delivery, or has it come late. It reports whether the delivery came.
func (th *theatre) disturb(d Effect, lose bool, want reference) bool {
	_, o := th.of(d)
	what := map[bool]string{true: "delivery-lost", false: "delivery-late"}[lose]
	var came atomic.Bool
	o.begin(nil, func(got Effect) bool {
		if got != d {
			return true
		}
		came.Store(true)
		th.stack.Injected(what, got.String())
		if !lose {
			time.Sleep(late)
		}
		return !lose
	})
	th.tell(fmt.Sprintf("%s: %s", what, d), want)
	o.begin(nil, nil)
	return came.Load()
}

func (th *theatre) of(e Effect) (*lab.Instance, *observer) {
	n := slices.IndexFunc(th.observers, func(o *observer) bool { return o.service == e.Service })
	return th.instances[n], th.observers[n]
}

// tell tells a story and compares it with the reference run after every step.
func (th *theatre) tell(title string, want reference) {
	s := th.story()
	start := time.Now()
	for n, st := range steps() {
		st.do(s)
		th.stack.Eventually(60*time.Second, title+": "+st.name, func(ctx context.Context) error {
			p, err := th.stack.Picture(ctx)
			if err != nil {
				return err
			}
			if d := differences(want.outcomes[n], s.outcome(p)); len(d) > 0 {
				return errors.New(strings.Join(d, "\n"))
			}
			return nil
		})
	}
	if d := differences(want.operations, s.operations(th.stack.Recorded())); len(d) > 0 {
		th.t.Errorf("%s: other writes than in the reference run:\n%s", title, strings.Join(d, "\n"))
		return
	}
	th.t.Logf("%s: same outcome, %s", title, time.Since(start).Round(100*time.Millisecond))
}
