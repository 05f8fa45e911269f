package agent

import (
	"context"
	"sync"

	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

// Runtime runs workloads. Its methods may take as long as they need; those of different deployments
// are called concurrently, those of one deployment are not.
type Runtime interface {
	// Apply runs d in place of what the deployment ran before and returns when it runs. On an error
	// what ran before still runs. It may be given what runs already, then nothing changes. ctx ends when d is
	// no longer wanted, or the agent stops: workloads that run keep running.
	Apply(ctx context.Context, deployment fleet.DeploymentName, d fleet.Desired) error
	// Remove ends the deployment and returns when nothing of it runs. It is no error when nothing did.
	Remove(ctx context.Context, deployment fleet.DeploymentName) error
}

// tasks runs calls of the runtime and posts what they came to.
type tasks struct {
	start  func(func(context.Context) protocol.Event) context.CancelFunc
	rt     Runtime
	cancel map[fleet.DeploymentName]context.CancelFunc // of the call under way of each
	group  sync.WaitGroup
}

// newTasks returns tasks that end with ctx. What is ended so posts nothing: it says nothing of the workload.
func newTasks(ctx context.Context, rt Runtime, post func(protocol.Event)) *tasks {
	t := &tasks{rt: rt, cancel: map[fleet.DeploymentName]context.CancelFunc{}}
	t.start = func(call func(context.Context) protocol.Event) context.CancelFunc {
		callCtx, cancel := context.WithCancel(ctx)
		t.group.Go(func() {
			defer cancel()
			if e := call(callCtx); ctx.Err() == nil {
				post(e)
			}
		})
		return cancel
	}
	return t
}

func (t *tasks) apply(a protocol.Apply) {
	t.cancel[a.Deployment] = t.start(func(ctx context.Context) protocol.Event {
		err := t.rt.Apply(ctx, a.Deployment, a.Desired)
		return protocol.Applied{Deployment: a.Deployment, Err: text(err)}
	})
}

func (t *tasks) remove(a protocol.Remove) {
	t.cancel[a.Deployment] = t.start(func(ctx context.Context) protocol.Event {
		err := t.rt.Remove(ctx, a.Deployment)
		return protocol.Removed{Deployment: a.Deployment, Err: text(err)}
	})
}

// interrupt ends the context of the call under way of a deployment.
func (t *tasks) interrupt(d fleet.DeploymentName) {
	if cancel, ok := t.cancel[d]; ok {
		cancel()
	}
}

// wait returns when every call has returned.
func (t *tasks) wait() { t.group.Wait() }

func text(err error) string {
	if err == nil {
		return ""
	}
	if s := err.Error(); s != "" {
		return s
	}
	return "unknown error"
}
