package scenarios

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

const northManifest = `apiVersion: fleet.harmony.dev/v1alpha1
kind: Deployment
metadata:
  name: hello
spec:
  targetSelector:
    matchLabels:
      region: north
  score:
    type: sim
    data: {message: hello}
`

// TestJourney_ApplyToDevice is the main job as a person does it, with the public tools: apply, look,
// wait, and find the key in the bucket.
func TestJourney_ApplyToDevice(t *testing.T) {
	s := lab.New(t, lab.Options{})
	s.StartServices()
	s.StartDevices(24)
	registered(t, s, 24)
	manifest := filepath.Join(t.TempDir(), "hello.yaml")
	if err := os.WriteFile(manifest, []byte(northManifest), 0o600); err != nil {
		t.Fatal(err)
	}

	must(t)(s.Kubectl(t.Context(), "apply", "-f", manifest))
	applied := time.Now()
	must(t)(s.Kubectl(t.Context(), "wait", "--for=condition=Ready", "--timeout=20s", "fdep/hello"))
	t.Logf("kubectl wait returned %s after kubectl apply", time.Since(applied).Round(time.Millisecond))

	keys, err := s.NATS.Keys(t.Context(), fleet.BucketDesiredState)
	if err != nil || len(keys) != 6 {
		t.Errorf("Ready with %d keys in the bucket, want 6 (%v)", len(keys), err)
	}
	s.Eventually(5*time.Second, "kubectl get fdep", func(ctx context.Context) error {
		return contains(must(t)(s.Kubectl(ctx, "get", "fdep")), "hello   6 6 0 0 0 True")
	})
	for _, c := range []struct {
		run  func(context.Context, ...string) (string, error)
		args string
		want []string
	}{
		{s.NATSCommand, "kv ls desired-state", []string{"dev-0001.hello", "dev-0021.hello"}},
		{s.NATSCommand, "micro ls", fleet.Services()},
		{s.NATSCommand, "micro info fleet-aggregator", []string{"fleet.v1.aggregator.deployments.list"}},
		{s.NATSCommand, "micro info fleet-reconciler", []string{"fleet.v1.reconciler.plan.show"}},
		{s.NATSCommand, "micro info fleet-patcher", []string{"fleet.v1.patcher.status.apply"}},
		{s.NATSCommand, "micro stats fleet-aggregator", []string{"deployments-list"}},
		{s.NATSCommand, "micro stats fleet-reconciler", []string{"plan-show"}},
		{s.NATSCommand, "micro stats fleet-patcher", []string{"status-apply"}},
		{s.NATSCommand, "request --raw fleet.v1.patcher.health {}", []string{`"service":"fleet-patcher"`, `"state":"ready"`}},
		{s.NATSCommand, "request --raw fleet.v1.reconciler.targets.list {\"deployment\":\"hello\"}", []string{"dev-0001", `"total":6`}},
		{s.NATSCommand, "request --raw fleet.v1.aggregator.deployments.get {\"name\":\"hello\"}", []string{`"matchedDeviceCount":6`, `"running":6`}},
		{s.FleetCommand, "get deployments", []string{"hello 6 6 0 0 0 True"}},
		{s.FleetCommand, "get device dev-0001 -o yaml", []string{"name: dev-0001", "region: north"}},
		{s.FleetCommand, "status", []string{"fleet-patcher", "holds", "true"}},
		{s.Kubectl, "get fdev dev-0001", []string{"Fresh"}},
		{s.Kubectl, "explain fdep.spec.targetSelector", []string{"DESCRIPTION"}},
	} {
		t.Run(strings.ReplaceAll(c.args, " ", "_"), func(t *testing.T) {
			out := must(t)(c.run(t.Context(), strings.Fields(c.args)...))
			for _, want := range c.want {
				if err := contains(out, want); err != nil {
					t.Error(err)
				}
			}
		})
	}

	must(t)(s.Kubectl(t.Context(), "delete", "fdep/hello", "--timeout=20s"))
	keys, err = s.NATS.Keys(t.Context(), fleet.BucketDesiredState)
	if err != nil || len(keys) != 0 {
		t.Errorf("the finalizer was released with %d keys in the bucket (%v)", len(keys), err)
	}
}

// TestJourney_Examples runs the examples on devices that accept every type of score they use.
func TestJourney_Examples(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	s.StartServices()
	s.StartDevices(8)
	registered(t, s, 8)
	must(t)(s.Kubectl(t.Context(), "label", "fdev/dev-0001", "tier=gateway"))
	must(t)(s.Kubectl(t.Context(), "apply", "-f", filepath.Join(lab.Root(t), "examples")))
	settled(t, s, "sensor-bridge", counts(2, 2, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "site-config", counts(1, 1, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "telemetry", counts(8, 8, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "web-north", counts(2, 2, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "smoke-test", counts(2, 0, 2, 0, 0), fleet.ConditionFalse) // it fails on purpose
}

// TestJourney_BadDeploymentDoesNotDisturb applies what admission refuses and what it cannot refuse.
func TestJourney_BadDeploymentDoesNotDisturb(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	s.StartServices()
	s.StartDevices(4)
	registered(t, s, 4)

	bad := deployment("bad", fleet.Selector{MatchExpressions: []fleet.SelectorRequirement{{Key: "region", Operator: "Like", Values: []string{"n"}}}})
	if err := s.API.TryApply(bad); err == nil {
		t.Error("a selector with an unknown operator was admitted")
	}
	if err := s.API.TryApply(lab.Deployment{Name: "bad.name", Selector: region("north")}); err == nil {
		t.Error("a name with a dot was admitted")
	}
	s.API.Apply(deployment("good", region("north")))
	settled(t, s, "good", counts(1, 1, 0, 0, 0), fleet.ConditionTrue)
	for name, size := range map[string]int{"big": fleet.MaxScoreSize, "huge": fleet.MaxMirrorSize, "good": fleet.MaxMirrorSize} {
		d := deployment(name, region("north"))
		d.Score.Data = []byte(`{"blob":"` + strings.Repeat("x", size) + `"}`)
		s.API.Apply(d)
		stalled(s, name)
	}
	keys, err := s.NATS.Keys(t.Context(), fleet.BucketDesiredState)
	if err != nil || len(keys) != 1 {
		t.Errorf("%d keys, want the one of before the edit (%v)", len(keys), err)
	}
	s.API.Apply(deployment("good", region("north")))
	settled(t, s, "good", counts(1, 1, 0, 0, 0), fleet.ConditionTrue)
}

// stalled waits until a Deployment's status says of its present generation that it is invalid.
func stalled(s *lab.Stack, name string) {
	s.Eventually(20*time.Second, name+" stalled", func(ctx context.Context) error {
		u, err := s.API.Get(ctx, fleet.KindDeployment, name)
		if err != nil {
			return err
		}
		status, raw, err := s.API.Status(ctx, name)
		if c := lab.Condition(status, fleet.ConditionStalled); err == nil &&
			(c.Status != fleet.ConditionTrue || c.Reason != fleet.ReasonInvalid || status.ObservedGeneration != u.GetGeneration()) {
			err = fmt.Errorf("status %s", raw)
		}
		return err
	})
}

// must returns what a command printed, and fails the test when it did not work.
func must(t *testing.T) func(out string, err error) string {
	return func(out string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		return out
	}
}

// contains compares words: any white space between them.
func contains(out, want string) error {
	if strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(want), " ")) {
		return nil
	}
	return fmt.Errorf("want %q in:\n%s", want, out)
}
