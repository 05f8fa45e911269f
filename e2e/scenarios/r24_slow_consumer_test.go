package scenarios

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// Fault:   a flood of requests while the log of a service is not read, until its client library drops messages; a
// flood while it is stopped by SIGSTOP, until the server drops its connection. Each service in turn.
// Promise: the service recovers, or exits visibly: it is at rest again, answers on that subject, and what
// it has to do gets done.
// Budget:  15 s from when the log is read again, or from SIGCONT.
// Found:   a subscription kept up to 500,000 requests or 64 MiB unread, and the log had a line each time it fell
// behind again: whoever floods it decided how much.
func TestR24_SlowConsumer(t *testing.T) {
	const kept = 64 << 20 // by the server, for one client
	s := lab.New(t, lab.Options{})
	services := s.StartServices()
	s.StartDevices(8)
	registered(t, s, 8)
	s.API.Apply(deployment("web", region("north")))
	settled(t, s, "web", counts(2, 2, 0, 0, 0), fleet.ConditionTrue)
	s.WaitReady(len(services))

	for n, c := range []struct {
		name  string
		fault fault.SlowConsumer
		seen  string // in which log …
		text  string // … this is to be
		ask   func(context.Context) error
	}{
		{
			"a query of the aggregator",
			fault.SlowConsumer{Of: s.Holder(fleet.ServiceAggregator), Subject: fleet.DeploymentsList.Subject, Size: 16, Requests: 8_000},
			"", "slow consumer", func(ctx context.Context) error {
				_, err := rpc.Call[fleet.DeploymentsListRequest, fleet.DeploymentsListResponse](ctx, s.Conn(), fleet.DeploymentsList, fleet.DeploymentsListRequest{})
				return err
			},
		},
		{
			"the snapshots of the reconciler",
			fault.SlowConsumer{Of: s.Holder(fleet.ServiceReconciler), Subject: fleet.DesiredSubject("dev-0001"), Size: 16, Requests: 30_000},
			"", "slow consumer", func(ctx context.Context) error {
				return answers(ctx, s, fleet.DesiredSubject("dev-0001"))
			},
		},
		{
			"an acting endpoint of the patcher, by the server",
			fault.SlowConsumer{Of: s.Holder(fleet.ServicePatcher), Subject: fleet.StatusApply.Subject, Size: 512 << 10, Requests: 2 * kept / (512 << 10), Paused: true},
			"nats-1", "Slow Consumer", func(ctx context.Context) error {
				_, err := rpc.Call[fleet.StatusApplyRequest, fleet.ApplyResponse](ctx, s.Conn(), fleet.StatusApply, fleet.StatusApplyRequest{})
				if code := fleet.CodeOf(err); code != fleet.CodeInvalid {
					return fmt.Errorf("the empty request is answered with code %d: %w", code, err)
				}
				return nil
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := c.seen
			if log == "" {
				log = c.fault.Of.ID()
			}
			healed := overflow(t, s, c.fault, log, c.text)
			s.Eventually(30*time.Second, c.fault.Of.ID()+" answers", func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, time.Second) // what was dropped is never answered
				defer cancel()
				return c.ask(ctx)
			})
			s.WaitReady(len(services))
			s.API.Apply(deployment("web", region([]string{"east", "south", "west"}[n])))
			settled(t, s, "web", counts(2, 2, 0, 0, 0), fleet.ConditionTrue)
			s.Measured("recovered from a slow consumer on "+c.name, time.Since(healed), 15*time.Second)
			if !c.fault.Of.Running() {
				t.Errorf("%s has exited", c.fault.Of.ID())
			}
		})
	}
	s.AtRest()
}

// overflow injects a slow consumer until a log tells that messages were dropped, and returns when it was healed: a
// process that gets no time loses its connection instead, and with it the flood.
func overflow(t *testing.T, s *lab.Stack, f fault.SlowConsumer, log, text string) (healed time.Time) {
	t.Helper()
	before := logCount(t, s, log, text)
	for range 5 {
		fault.Inject(s, f)
		fault.Heal(s, f)
		healed = time.Now()
		for time.Since(healed) < 5*time.Second {
			if logCount(t, s, log, text) > before {
				return healed
			}
			time.Sleep(50 * time.Millisecond)
		}
		s.WaitReady(len(fleet.Services()))
	}
	t.Fatalf("%s does not tell of a %q", log, text)
	return healed
}

// answers returns nil when somebody answers a request with anything but an error.
func answers(ctx context.Context, s *lab.Stack, subject string) error {
	m, err := s.Conn().RequestWithContext(ctx, subject, []byte(`{}`))
	if err == nil && m.Header.Get("Nats-Service-Error-Code") != "" {
		err = fmt.Errorf("%s: %s", subject, m.Data)
	}
	return err
}

// logCount is how often a text is in the log of an instance.
func logCount(t *testing.T, s *lab.Stack, id, text string) int {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(s.Dir(), id+".log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), text)
}
