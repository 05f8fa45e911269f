package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// flush is a stack in which one report each changes the status of five Deployments at once. The device that they
// are about is the scenario's own: nothing follows from its reports but statuses.
type flush struct {
	*lab.Stack
	services            []*lab.Instance
	aggregator, patcher *lab.Instance
	names               []string
	statuses            map[string]*lab.Statuses
	phase               fleet.Phase
	right               map[fleet.Phase]map[string]string // statuses as they are without a fault, by Deployment
}

// flushPoint is a moment of a flush at which processes are killed.
type flushPoint struct {
	name string
	dies []*lab.Instance
	arm  func(strike func()) // has strike called at that moment
	done int                 // statuses that are written by then; -1: any number
}

// Fault:   SIGKILL in a flush of five statuses: of the aggregator once it has drained what is dirty and before a
// request is out, when a request is at the patcher, and when an acknowledgement arrives; of the patcher before it
// writes, between two writes, after the last write, and when it acknowledges; of both between two writes.
// Promise: each status gets the right bytes with no further event, and is written exactly once.
// Budget:  15 s from the restart, the wait for the lease of the one that was killed included.
// Found:   -
func TestR20_KillMidFlush(t *testing.T) {
	t.Parallel()
	f := newFlush(t)
	for _, p := range f.points() {
		t.Run(p.name, func(t *testing.T) { f.run(t, p) })
	}
	f.AtRest()
}

func newFlush(t *testing.T) *flush {
	f := &flush{Stack: lab.New(t, lab.Options{}), statuses: map[string]*lab.Statuses{}, right: map[fleet.Phase]map[string]string{}}
	for _, name := range fleet.Services() {
		i := f.Start(name, "--lease-ttl", "1s")
		f.services = append(f.services, i)
		switch name {
		case fleet.ServiceAggregator:
			f.aggregator = i
		case fleet.ServicePatcher:
			f.patcher = i
		}
	}
	f.WaitReady(3)
	f.StartDevices(2, "--heartbeat", "1s") // somebody to be heard of
	registered(t, f.Stack, 2)
	f.API.CreateDevice("shelf", map[string]string{"shelf": "yes"})
	for n := range 5 {
		name := fmt.Sprintf("app-%d", n+1)
		f.names = append(f.names, name)
		f.API.Apply(deployment(name, fleet.Selector{MatchLabels: map[string]string{"shelf": "yes"}}))
	}
	for _, name := range f.names {
		settled(t, f.Stack, name, counts(1, 0, 0, 1, 0), fleet.ConditionFalse)
		f.statuses[name] = f.API.RecordStatuses(name)
	}
	for _, phase := range []fleet.Phase{fleet.PhaseRunning, fleet.PhaseFailed} { // as it is without a fault
		f.report(phase)
		want, ready := counts(1, 1, 0, 0, 0), fleet.ConditionTrue
		if phase == fleet.PhaseFailed {
			want, ready = counts(1, 0, 1, 0, 0), fleet.ConditionFalse
		}
		f.right[phase] = map[string]string{}
		for _, name := range f.names {
			settled(t, f.Stack, name, want, ready)
			text, err := f.shown(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			f.right[phase][name] = text
		}
		f.AtRest()
	}
	return f
}

// points are the moments of a flush, in its order.
func (f *flush) points() []flushPoint {
	aggregator, patcher := []*lab.Instance{f.aggregator}, []*lab.Instance{f.patcher}
	asked, acked := []byte(fleet.StatusApply.Subject), []byte(`"result":"`+fleet.ResultPatched+`"`)
	sent := func(i *lab.Instance, what []byte, lost bool) func(func()) {
		return func(strike func()) { i.NATS.Watch(at(i, what, lost, strike), nil) }
	}
	got := func(i *lab.Instance, what []byte, lost bool) func(func()) {
		return func(strike func()) { i.NATS.Watch(nil, at(i, what, lost, strike)) }
	}
	written := func(n int) func(func()) {
		return func(strike func()) { afterWrites(f.patcher.Kube, n, strike) }
	}
	return []flushPoint{
		{"aggregator_after_drain", aggregator, sent(f.aggregator, asked, true), 0},
		{"aggregator_while_the_patcher_is_asked", aggregator, got(f.patcher, asked, false), -1},
		{"patcher_before_the_first_write", patcher, got(f.patcher, asked, true), 0},
		{"patcher_between_writes", patcher, written(2), 2},
		{"both_between_writes", []*lab.Instance{f.aggregator, f.patcher}, written(2), 2},
		{"patcher_after_the_last_write", patcher, written(len(f.names)), len(f.names)},
		{"patcher_before_an_acknowledgement", patcher, sent(f.patcher, acked, true), -1},
		{"aggregator_before_an_acknowledgement", aggregator, got(f.aggregator, acked, true), -1},
	}
}

// at returns a watcher that strikes at the first message that contains something, and no more: another may be on its way to
// it when the network is healed. When it is to be lost, so is all that follows, until then.
func at(i *lab.Instance, what []byte, lost bool, strike func()) func([]byte) {
	var once sync.Once
	return func(b []byte) {
		if !bytes.Contains(b, what) {
			return
		}
		once.Do(func() {
			if lost {
				i.NATS.Swallow(true)
			}
			strike()
		})
	}
}

// afterWrites lets so many statuses be written, and strikes then, before the patcher knows of the last.
func afterWrites(g *lab.Gateway, n int, strike func()) {
	var asked, done atomic.Int64
	g.OnRequest(func(r *http.Request) bool { return !isStatusWrite(r) || asked.Add(1) <= int64(n) })
	g.OnDone(func(r *http.Request, status int) {
		if isStatusWrite(r) && status == http.StatusOK && done.Add(1) == int64(n) {
			strike()
		}
	})
}

func isStatusWrite(r *http.Request) bool {
	return r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/"+fleet.ResourceDeployments+"/") && strings.HasSuffix(r.URL.Path, "/status")
}

func (f *flush) run(t *testing.T, p flushPoint) {
	f.WaitReady(3)
	before := map[string]int{}
	for _, name := range f.names {
		before[name] = len(f.statuses[name].All())
	}
	struck := make(chan struct{})
	var once sync.Once
	p.arm(func() {
		once.Do(func() {
			fault.Inject(f.Stack, fault.Kill(p.dies))
			close(struck)
		})
	})
	next := map[fleet.Phase]fleet.Phase{fleet.PhaseRunning: fleet.PhaseFailed, fleet.PhaseFailed: fleet.PhaseRunning}[f.phase]
	f.report(next)
	select {
	case <-struck:
	case <-time.After(20 * time.Second):
		t.Fatalf("the flush never came to the point (logs: %s)", f.Dir())
	}
	for _, i := range f.services {
		i.NATS.Watch(nil, nil)
		i.NATS.Swallow(false)
	}
	f.patcher.Kube.OnRequest(nil)
	f.patcher.Kube.OnDone(nil)
	// A message that the network tore in two is not recognized: then it strikes at the next.
	if n := f.written(); p.done >= 0 && n != p.done && (p.done > 0 || n > 1) {
		t.Errorf("%d statuses are written at this point, not %d", n, p.done)
	}
	fault.Heal(f.Stack, fault.Kill(p.dies))
	restarted := time.Now()
	f.Eventually(20*time.Second, "the right statuses", f.isRight)
	f.Measured("right statuses after a SIGKILL of "+strings.ReplaceAll(p.name, "_", " "), time.Since(restarted), 15*time.Second)

	f.WaitReady(3)
	f.AtRest()
	for _, name := range f.names {
		seen := f.statuses[name].All()[before[name]:]
		if len(seen) != 1 {
			t.Errorf("%s was written %d times, to the effect of %+v", name, len(seen), seen)
		}
	}
}

// written is how many of the statuses are right already.
func (f *flush) written() (n int) {
	for _, name := range f.names {
		if got, err := f.shown(f.T().Context(), name); err == nil && got == f.right[f.phase][name] {
			n++
		}
	}
	return n
}

// isRight returns what is not as it is without a fault.
func (f *flush) isRight(ctx context.Context) error {
	for _, name := range f.names {
		got, err := f.shown(ctx, name)
		if err != nil {
			return err
		}
		if want := f.right[f.phase][name]; got != want {
			return fmt.Errorf("status of %s is %s, want %s", name, got, want)
		}
	}
	return nil
}

// shown is the status of a Deployment without the times at which conditions changed.
func (f *flush) shown(ctx context.Context, name string) (string, error) {
	status, _, err := f.API.Status(ctx, name)
	if err != nil {
		return "", err
	}
	for i := range status.Conditions {
		status.Conditions[i].LastTransitionTime = nil
	}
	text, err := json.Marshal(status)
	return string(text), err
}

// report has the device report a phase of all its Deployments.
func (f *flush) report(phase fleet.Phase) {
	f.T().Helper()
	keys, err := f.NATS.Keys(f.T().Context(), fleet.BucketDesiredState)
	if err != nil {
		f.T().Fatalf("read what is desired: %v", err)
	}
	js := f.NATS.JetStream()
	for _, name := range f.names {
		pair := fleet.Pair{Device: "shelf", Deployment: fleet.DeploymentName(name)}
		r := fleet.Report{Phase: phase, ObservedHash: fleet.Hash([]byte(keys[fleet.DesiredKey(pair)].Value)), LastEventAt: "2026-01-01T00:00:00Z"}
		if phase == fleet.PhaseFailed {
			r.LastError = "does not start"
		}
		value, err := json.Marshal(r)
		if err != nil {
			f.T().Fatal(err)
		}
		key := fleet.StateKey(pair)
		ack, err := js.Publish(f.T().Context(), fleet.KeySubject(fleet.BucketDeviceState, key), value)
		if err != nil {
			f.T().Fatalf("report of %s: %v", name, err)
		}
		f.Acked(fleet.BucketDeviceState, key, ack.Sequence, string(value))
	}
	f.phase = phase
}
