package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/agent"
	"harmony.dev/agent/agenttest"
	"harmony.dev/agent/disk"
	"harmony.dev/agent/link"
	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

const pi = fleet.DeviceID("pi-07")

// on returns the pair of a deployment on the device.
func on(name fleet.DeploymentName) fleet.Pair { return fleet.Pair{Device: pi, Deployment: name} }

// runtime runs workloads in a map. The data of a score is what it runs: a JSON string; one that begins
// with "bad" fails, one that begins with "slow" waits until it is interrupted.
type runtime struct {
	mu      sync.Mutex
	running map[fleet.DeploymentName]string
}

func newRuntime() *runtime { return &runtime{running: map[fleet.DeploymentName]string{}} }

func (r *runtime) Apply(ctx context.Context, name fleet.DeploymentName, d fleet.Desired) error {
	var label string
	if err := json.Unmarshal(d.Score.Data, &label); err != nil {
		return err
	}
	if strings.HasPrefix(label, "slow") {
		<-ctx.Done()
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.HasPrefix(label, "bad") {
		return errors.New("refused: " + label)
	}
	r.running[name] = label
	return nil
}

func (r *runtime) Remove(_ context.Context, name fleet.DeploymentName) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, name)
	return nil
}

func (r *runtime) runs() map[fleet.DeploymentName]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.running)
}

// rig is one agent with a connection of its own.
type rig struct {
	t     *testing.T
	rt    *runtime
	agent *agent.Agent
	stop  func()
}

// start starts an agent whose state is in dir. The connection need not stand.
func start(t *testing.T, nc *nats.Conn, dir string, rt *runtime) *rig {
	t.Helper()
	store, err := disk.Open(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	l := link.New(nc, link.Options{Timeout: 2 * time.Second})
	a, err := agent.New(agent.Config{
		Config: protocol.Config{
			Device: pi, Seed: 1, Info: fleet.DeviceInfo{Labels: map[string]string{"region": "north"}},
			Heartbeat: 100 * time.Millisecond, ResyncJitter: 10 * time.Millisecond, ConnectJitter: 10 * time.Millisecond,
			Ask:     protocol.Backoff{Min: 10 * time.Millisecond, Max: 200 * time.Millisecond},
			Publish: protocol.Backoff{Min: 10 * time.Millisecond, Max: 200 * time.Millisecond},
		},
		Conn: l, Runtime: rt, Store: store,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, run := range []func(context.Context) error{l.Run, a.Run} {
		group.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	r := &rig{t: t, rt: rt, agent: a, stop: func() { cancel(); group.Wait() }}
	t.Cleanup(r.stop)
	return r
}

func (r *rig) wantRunning(want map[fleet.DeploymentName]string) {
	r.t.Helper()
	fleettest.Eventually(r.t, agenttest.Wait, fmt.Sprintf("the device runs %v", want), func() bool { return maps.Equal(r.rt.runs(), want) })
}
