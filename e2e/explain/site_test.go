package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// site is a fleet whose operator acts as fast as it can be told to.
type site struct {
	*lab.Stack
	t          *testing.T
	reconciler *lab.Instance
	off        *lab.Instance // dev-0013, killed when it runs something
}

func newSite(t *testing.T) *site {
	s := &site{Stack: lab.New(t, lab.Options{}), t: t}
	s.Start(fleet.ServicePatcher)
	s.reconciler = s.Start(fleet.ServiceReconciler, "--brake-quiet", "2s", "--brake-max-wait", "12s")
	s.Start(fleet.ServiceAggregator, "--heartbeat-interval", "2s", "--stale-after", "8s", "--silence-after", "60s")
	s.StartDevices(12, "--heartbeat", "1s")
	s.off = s.StartDevices(1, "--first", "13", "--heartbeat", "1s")
	s.WaitReady(3)
	s.AwaitDevices(40*time.Second, 13, "dev-")
	return s
}

// labels selects devices with one label.
func labels(key, value string) fleet.Selector {
	return fleet.Selector{MatchLabels: map[string]string{key: value}}
}

func requires(key, operator string, values ...string) fleet.Selector {
	return fleet.Selector{MatchExpressions: []fleet.SelectorRequirement{{Key: key, Operator: operator, Values: values}}}
}

// apply wishes for an image.
func (s *site) apply(name string, selector fleet.Selector, data string) {
	s.t.Helper()
	s.API.Apply(lab.Deployment{Name: name, Selector: selector, Score: fleet.Score{Type: "sim", Data: json.RawMessage(data)}})
}

// keep adds a finalizer of somebody else's, so that what is deleted stays in the middle of it.
func (s *site) keep(kind, name string) {
	s.t.Helper()
	s.Eventually(20*time.Second, "a finalizer of "+name, func(ctx context.Context) error {
		u, err := s.API.Get(ctx, kind, name)
		if err != nil {
			return err
		}
		own := u.GetFinalizers()
		if len(own) == 0 {
			return errors.New("the patcher has not added its own yet")
		}
		return s.API.TryPatch(kind, name, map[string]any{"metadata": map[string]any{
			"resourceVersion": u.GetResourceVersion(), "finalizers": append(own, "example.com/keep"),
		}})
	})
}

// says writes under a key of a device, as its agent would.
func (s *site) says(bucket, key string, value any) {
	s.t.Helper()
	text, ok := value.(string)
	if !ok {
		b, err := json.Marshal(value)
		if err != nil {
			s.t.Fatal(err)
		}
		text = string(b)
	}
	fault.Inject(s.Stack, &fault.RawWrite{Bucket: bucket, Key: key, Value: text})
}

// beat sends heartbeats of some devices until the test ends.
func (s *site) beat(devices ...fleet.DeviceID) {
	js, ctx := s.NATS.JetStream(), s.t.Context()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			for _, d := range devices {
				_, _ = js.Publish(ctx, fleet.KeySubject(fleet.BucketDeviceHeartbeat, fleet.HeartbeatKey(d)), []byte(`{}`)) // the next one may get there
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	s.t.Cleanup(func() { <-ended })
}

// desiredHash waits for a key of desired-state.
func (s *site) desiredHash(device fleet.DeviceID, deployment fleet.DeploymentName) (hash string) {
	s.t.Helper()
	key := fleet.DesiredKey(fleet.Pair{Device: device, Deployment: deployment})
	s.Eventually(20*time.Second, key, func(ctx context.Context) error {
		keys, err := s.NATS.Keys(ctx, fleet.BucketDesiredState)
		e, ok := keys[key]
		if err != nil || !ok {
			return errors.Join(err, errors.New("it is not there"))
		}
		hash = fleet.Hash([]byte(e.Value))
		return nil
	})
	return hash
}

// command runs the command line, and returns what it printed and its exit code.
func (s *site) command(ctx context.Context, args ...string) (string, int, error) {
	out, err := s.FleetCommand(ctx, args...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out, exit.ExitCode(), nil
	}
	return out, 0, err
}

// situation is what is to be said of one Deployment on one device.
type situation struct {
	name       string
	device     fleet.DeviceID
	deployment fleet.DeploymentName
	verdict    string
	says       string // among message and facts
	next       string // among what to do next
}

// check waits for the verdict as programs read it, then reads what people do.
func (s *site) check(c situation) {
	s.t.Helper()
	var got fleet.DeviceExplainResponse
	s.Eventually(40*time.Second, c.name, func(ctx context.Context) error {
		out, code, err := s.command(ctx, "explain", "device", string(c.device), string(c.deployment), "-o", "json")
		got = fleet.DeviceExplainResponse{}
		if err = errors.Join(err, json.Unmarshal([]byte(out), &got)); err != nil || code != 0 {
			return fmt.Errorf("exit code %d, %w: %s", code, err, out)
		}
		if all := strings.Join(append(got.Facts, got.Message), "\n"); got.Verdict != c.verdict || !got.Synced || !strings.Contains(all, c.says) || !strings.Contains(got.Next, c.next) {
			return fmt.Errorf("it says %s, want %s with %q and then %q", out, c.verdict, c.says, c.next)
		}
		return nil
	})
	if (got.Next == "") != (c.next == "") {
		s.t.Errorf("%s: next is %q", c.name, got.Next)
	}
	s.reads(c, got, "explain", string(c.device)+"/"+string(c.deployment))
	if c.listed() {
		out := s.reads(c, got, "explain", "device", string(c.device), "-o", "wide")
		row := slices.IndexFunc(strings.Split(out, "\n"), func(l string) bool {
			cells := strings.Fields(l)
			return len(cells) > 2 && cells[0] == string(c.deployment) && cells[1] == c.verdict
		})
		if row < 0 {
			s.t.Errorf("%s: no row with it in\n%s", c.name, out)
		}
	}
}

// listed reports whether the Deployment is among all that are explained of a device.
func (c situation) listed() bool { return c.verdict != "NoDeployment" }

// reads runs a command as a person does: it tells why and what to do next, and is harmless.
func (s *site) reads(c situation, got fleet.DeviceExplainResponse, args ...string) string {
	s.t.Helper()
	out, code, err := s.command(s.t.Context(), args...)
	if err != nil || code != 0 {
		s.t.Errorf("%s: fleet %s: exit code %d, %v", c.name, strings.Join(args, " "), code, err)
	}
	message, _, _ := strings.Cut(visible(got.Message), "since") // times go on
	for _, want := range []string{c.verdict, strings.TrimSpace(message), visible(got.Next), "as of "} {
		if !strings.Contains(out, want) {
			s.t.Errorf("%s: fleet %s does not say %q:\n%s", c.name, strings.Join(args, " "), want, out)
		}
	}
	if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		s.t.Errorf("%s: fleet %s prints %q", c.name, strings.Join(args, " "), out[i:min(len(out), i+4)])
	}
	return out
}

// visible is what a terminal is given of a text.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}
