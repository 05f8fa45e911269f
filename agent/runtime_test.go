package agent

import (
	"context"
	"testing"

	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

// patient waits until it is told to end.
type patient struct{ entered chan struct{} }

func (p patient) Apply(ctx context.Context, _ fleet.DeploymentName, _ fleet.Desired) error {
	p.entered <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

func (p patient) Remove(context.Context, fleet.DeploymentName) error { return nil }

// TestTasks_TheEndOfTheAgentIsNoFailure: what is interrupted because the agent stops says nothing of the
// workload; what is interrupted for another reason does.
func TestTasks_TheEndOfTheAgentIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	posted := make(chan protocol.Event, 10)
	rt := patient{make(chan struct{})}
	tasks := newTasks(ctx, rt, func(e protocol.Event) { posted <- e })
	tasks.apply(protocol.Apply{Deployment: "a"})
	tasks.apply(protocol.Apply{Deployment: "b"})
	<-rt.entered
	<-rt.entered
	tasks.interrupt("a")
	if e, ok := (<-posted).(protocol.Applied); !ok || e.Deployment != "a" || e.Err == "" {
		t.Errorf("posted %+v", e)
	}
	cancel()
	tasks.wait()
	if len(posted) > 0 {
		t.Errorf("posted %+v", <-posted)
	}
}

func TestMailbox_TooManyLiveMessages(t *testing.T) {
	b := newMailbox()
	for range maxLive + 10 {
		b.post(protocol.Live{})
	}
	b.post(protocol.ResyncAsked{})
	live, lost, other := 0, 0, 0
	for _, e := range b.take() {
		switch e.(type) {
		case protocol.Live:
			live++
		case protocol.Lost:
			lost++
		default:
			other++
		}
	}
	if live >= maxLive || lost != 1 || other != 1 {
		t.Errorf("%d live, %d lost, %d other", live, lost, other)
	}
	b.post(protocol.Live{})
	if n := len(b.take()); n != 1 {
		t.Errorf("%d events after they were taken", n)
	}
}
