package cli

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// inTurn runs scripts one after the other: a held brake or a service that is stopped is seen by all of them.
type inTurn struct{ *testing.T }

// Parallel implements testscript.T.
func (inTurn) Parallel() {}

// Verbose implements testscript.T.
func (inTurn) Verbose() bool { return testing.Verbose() }

// Run implements testscript.T.
func (i inTurn) Run(name string, f func(testscript.T)) {
	i.T.Run(name, func(t *testing.T) { f(inTurn{t}) })
}

// operator is what the scripts run against. Its times are shorter than the product's.
func operator(t *testing.T) (*lab.Stack, map[string]*lab.Instance) {
	s := lab.New(t, lab.Options{Shipped: true})
	services := map[string]*lab.Instance{
		fleet.ServicePatcher:    s.Start(fleet.ServicePatcher),
		fleet.ServiceReconciler: s.Start(fleet.ServiceReconciler, "--brake-quiet", "1s", "--brake-max-wait", "6s"),
		fleet.ServiceAggregator: s.Start(fleet.ServiceAggregator, "--heartbeat-interval", "1s", "--stale-after", "4s", "--silence-after", "50s", "--rebuild-for", "2s"),
	}
	s.StartDevices(12, "--heartbeat", "1s")
	s.WaitReady(len(services))
	s.AwaitDevices(40*time.Second, 12, "dev-")
	return s, services
}

func TestScripts(t *testing.T) {
	s, services := operator(t)
	b := &bench{stack: s, services: services}
	testscript.RunT(inTurn{t}, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			bin := lab.BinDir(t)
			e.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			e.Setenv("KUBECONFIG", s.Kube.Kubeconfig)
			e.Setenv("FLEET_NATS_URL", s.NATS.URL())
			e.Setenv("NATS_URL", s.NATS.URL())
			e.Setenv("NS", s.Fleet)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "until": until, "vanish": b.vanish, "service": b.service,
		},
	})
}
