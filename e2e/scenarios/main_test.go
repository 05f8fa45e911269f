package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// region selects simulated devices: each name stands for every fourth.
func region(names ...string) fleet.Selector {
	return fleet.Selector{MatchExpressions: []fleet.SelectorRequirement{{Key: "region", Operator: "In", Values: names}}}
}

func deployment(name string, s fleet.Selector) lab.Deployment {
	return lab.Deployment{Name: name, Selector: s, Score: fleet.Score{Type: "sim", Data: json.RawMessage(`{"image":"demo:1"}`)}}
}

// counts is the part of an aggregate that adds up.
func counts(matched, running, failed, pending, stale int) [5]int {
	return [5]int{matched, running, failed, pending, stale}
}

func countsOf(a fleet.Aggregate) [5]int {
	return counts(a.MatchedDeviceCount, a.Running, a.Failed, a.Pending, a.Stale)
}

// settled waits until a Deployment's status has these counts, for its current generation, and Ready.
func settled(t *testing.T, s *lab.Stack, name string, want [5]int, ready fleet.ConditionStatus) {
	t.Helper()
	s.Eventually(20*time.Second, "status of "+name, func(ctx context.Context) error {
		u, err := s.API.Get(ctx, fleet.KindDeployment, name)
		if err != nil {
			return err
		}
		status, raw, err := s.API.Status(ctx, name)
		if err != nil {
			return err
		}
		if countsOf(status.Aggregate) != want || status.ObservedGeneration != u.GetGeneration() {
			return fmt.Errorf("want counts %v of generation %d, got %s", want, u.GetGeneration(), raw)
		}
		if c := lab.Condition(status, fleet.ConditionReady); c.Status != ready {
			return fmt.Errorf("want Ready %s, got %s (%s)", ready, c.Status, raw)
		}
		return nil
	})
}

// registered waits until the apiserver has n Devices.
func registered(t *testing.T, s *lab.Stack, n int) {
	t.Helper()
	s.AwaitDevices(30*time.Second+time.Duration(n)*100*time.Millisecond, n, "")
}

// watchHealth looks at every instance again and again, until the returned function is called or the test
// ends. Look is called from one goroutine.
func watchHealth(s *lab.Stack, look func(fleet.Health)) (stop func()) {
	ctx, cancel := context.WithCancel(s.T().Context())
	s.Conn() // opened here, since failing to is fatal
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			for _, h := range s.Health(ctx) {
				look(h)
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	stop = func() { cancel(); done.Wait() }
	s.T().Cleanup(stop)
	return stop
}
