package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/fleet"
)

// Every verdict that an operator at work can come to, in a fleet that is brought into each situation.
func TestExplain(t *testing.T) {
	s := newSite(t)
	s.wish()
	s.agents()
	for _, c := range atWork() {
		s.check(c)
	}
	t.Run("a deployment by its devices", func(*testing.T) { s.grouped() })
	t.Run("what is not there", func(t *testing.T) {
		out, code, err := s.command(t.Context(), "explain", "deployment", "nope")
		if err != nil || code != 1 || !strings.Contains(out, "there is no deployment nope") {
			t.Errorf("exit code %d, %v: %s", code, err, out)
		}
	})
	s.hold()
	s.unled()
}

// wish applies the Deployments, and brings some of them and of the devices into a state of their own.
func (s *site) wish() {
	s.t.Helper()
	s.apply("north", labels("region", "north"), `{"image":"demo:1"}`)
	s.apply("gpu", labels("gpu", "yes"), `{"image":"demo:1"}`)
	s.apply("cloud", requires("arch", "NotIn", "arm64", "riscv"), `{"image":"demo:1"}`)
	s.apply("wide", requires("arch", "Exists"), `{"image":"demo:1"}`)
	s.apply("broken", labels("region", "south"), `{"fail":"no space left on device"}`)
	s.apply("site", labels("site", "a"), `{"image":"demo:1"}`)
	s.apply("raw", labels("role", "raw"), `{"image":"demo:1"}`)
	s.apply("huge", labels("region", "north"), fmt.Sprintf("%q", strings.Repeat("x", fleet.MaxScoreSize)))
	s.apply("leaving", labels("region", "north"), `{"image":"demo:1"}`)
	s.keep(fleet.KindDeployment, "leaving")
	s.API.Delete(fleet.KindDeployment, "leaving")

	s.API.Label("dev-0002", "site", "a")
	if err := s.API.TryPatch(fleet.KindDevice, "dev-0012", map[string]any{"spec": map[string]any{"quarantined": true}}); err != nil {
		s.t.Fatal(err)
	}
	s.API.CreateDevice("shelf", map[string]string{"role": "raw"})
	s.API.CreateDevice("retired", map[string]string{"role": "raw"})
	s.keep(fleet.KindDevice, "retired")
	s.API.Delete(fleet.KindDevice, "retired")
	s.check(situation{"dev-0013 runs it", "dev-0013", "north", "Running", "runs north as desired", ""})
	s.off.Kill()
}

// hostile is what a device may say of why it failed.
const hostile = "\x1b[31mred\x1b[0m\n\u202eNAME   VERDICT\r\u200b"

// agents plays the agents of devices that say what simulated ones never would.
func (s *site) agents() {
	s.t.Helper()
	raw := []fleet.DeviceID{"raw-mute", "raw-old", "raw-slow", "raw-poison", "raw-hostile"}
	for _, d := range raw {
		s.says(fleet.BucketDeviceInfo, fleet.InfoKey(d), fleet.DeviceInfo{Labels: map[string]string{"role": "raw"}})
	}
	s.says(fleet.BucketDeviceInfo, fleet.InfoKey("raw-spoiled"), `{"labels":`)
	s.beat(append(raw, "raw-ghost", "raw-spoiled")...)
	hash := s.desiredHash("raw-old", "raw")
	report := func(d fleet.DeviceID, value any) {
		s.says(fleet.BucketDeviceState, fleet.StateKey(fleet.Pair{Device: d, Deployment: "raw"}), value)
	}
	at := "2026-03-01T12:00:00Z"
	report("raw-old", fleet.Report{Phase: fleet.PhaseFailed, ObservedHash: fleet.Hash([]byte("old")), LastEventAt: at, LastError: "of before"})
	report("raw-slow", fleet.Report{Phase: fleet.PhasePending, ObservedHash: hash, LastEventAt: at})
	report("raw-poison", `{"phase":"Running","observedHash":"`)
	report("raw-hostile", fleet.Report{Phase: fleet.PhaseFailed, ObservedHash: hash, LastEventAt: at, LastError: hostile})
}

// atWork are the situations while the operator is whole.
func atWork() []situation {
	change := "change the labels of the Device or the selector"
	return []situation{
		{"running", "dev-0001", "north", "Running", "device dev-0001 runs north as desired", ""},
		{"a label has another value", "dev-0002", "north", "NoMatch", `label region is "east", wanted "north"`, change},
		{"a label is missing", "dev-0001", "gpu", "NoMatch", `label gpu is not set, wanted "yes"`, change},
		{"an expression rules it out", "dev-0001", "cloud", "NoMatch", `label arch is "arm64", wanted none of arm64, riscv`, change},
		{"failed", "dev-0003", "broken", "Failed", "broken failed on device dev-0003: no space left on device", "see the device's own log"},
		{"failed, in hostile words", "raw-hostile", "raw", "Failed", "red", "see the device's own log"},
		{"stale", "dev-0013", "north", "Stale", "device dev-0013 has been silent since", "check power and network"},
		{"never seen", "shelf", "raw", "NoReport", "never heard of", "check that the agent of the device runs"},
		{"no report", "raw-mute", "raw", "NoReport", "has not reported on raw", "asked to send its reports again"},
		{"a report about another value", "raw-old", "raw", "HashDiffers", "is about another value than the desired one", "wait for its report"},
		{"on its way", "raw-slow", "raw", "Pending", "is still bringing up raw", "wait for its next report"},
		{"a malformed report", "raw-poison", "raw", "PoisonReport", "the last report of device raw-poison on raw is malformed", "mend the agent"},
		{"an invalid deployment", "dev-0001", "huge", "Invalid", "huge cannot be applied: score is", "correct the spec"},
		{"a deployment that is being deleted", "dev-0001", "leaving", "DeploymentDeleting", "is being deleted", "wait: each device"},
		{"a device that is being deleted", "retired", "raw", "DeviceDeleting", "device retired is being deleted", "registers again"},
		{"quarantined", "dev-0012", "wide", "Quarantined", "device dev-0012 is quarantined", "lift the quarantine"},
		{"not registered: no info", "raw-ghost", "north", "NotRegistered", "it sends messages but no info", "asked to send it again"},
		{"not registered: malformed info", "raw-spoiled", "north", "NotRegistered", "its info is malformed", "info.raw-spoiled"},
		{"a device that nobody knows", "nope", "north", "NotRegistered", "it has never been heard of", "check the device id"},
		{"a deployment that nobody knows", "dev-0001", "nope", "NoDeployment", "there is no deployment nope", "fleet get deployments"},
	}
}

// grouped reads a Deployment on all devices: every agent that was played has a verdict of its own.
func (s *site) grouped() {
	s.t.Helper()
	out, code, err := s.command(s.t.Context(), "explain", "deployment", "raw", "-o", "json")
	var got fleet.DeploymentExplainResponse
	if err := errors.Join(err, json.Unmarshal([]byte(out), &got)); err != nil || code != 0 {
		s.t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	counts := map[string]int{}
	for _, g := range got.Groups {
		counts[g.Verdict] += g.Count
	}
	for verdict, want := range map[string]int{"Failed": 1, "PoisonReport": 1, "HashDiffers": 1, "Pending": 1, "NoReport": 2, "DeviceDeleting": 1, "Quarantined": 1, "NotRegistered": 2, "NoMatch": 12} {
		if counts[verdict] != want {
			s.t.Errorf("%d devices are %s, want %d: %s", counts[verdict], verdict, want, out)
		}
	}
	text, code, err := s.command(s.t.Context(), "explain", "deployment", "raw")
	if err != nil || code != 0 {
		s.t.Errorf("exit code %d, %v", code, err)
	}
	for _, want := range []string{"generation   1, applied", "selects      role=raw", "6 matched: 0 running, 1 failed, 5 pending, 0 stale", "PoisonReport: mend the agent", "it last reported Failed on another value", "raw-hostile   failed"} {
		if !strings.Contains(text, want) {
			s.t.Errorf("fleet explain deployment raw does not say %q:\n%s", want, text)
		}
	}
}

// hold makes the brake hold what a Deployment had that vanished, and then a label that a device lost.
func (s *site) hold() {
	s.t.Helper()
	fault.Inject(s.Stack, fault.Vanish{Kind: fleet.KindDeployment, Names: []string{"wide"}})
	s.check(situation{"held, of a deployment that vanished", "dev-0002", "wide", "Held", "there is no deployment wide any more", "fleet hold approve hold-"})
	s.API.Label("dev-0002", "site", "")
	s.check(situation{"held, of a device that lost its label", "dev-0002", "site", "Held", "does not select it any more: label site is not set", "fleet hold approve hold-"})
	s.Eventually(20*time.Second, "the plan to hold both", func(ctx context.Context) error {
		out, code, err := s.command(ctx, "plan")
		for _, want := range []string{"holds 13 deletes until a person approves", "vanished", "relabelled", "delete, held   dev-0002.wide", "fleet hold approve hold-"} {
			if code != 0 || !strings.Contains(out, want) {
				err = errors.Join(err, fmt.Errorf("exit code %d, no %q in\n%s", code, want, out))
			}
		}
		return err
	})
}

// unled stops the only reconciler: what is wished is seen not to be carried out.
func (s *site) unled() {
	s.t.Helper()
	s.reconciler.Stop()
	s.apply("late", labels("region", "north"), `{"image":"demo:1"}`)
	s.apply("north", labels("region", "west"), `{"image":"demo:1"}`)
	s.check(situation{"not written yet", "dev-0001", "late", "Applying", "selects device dev-0001 but is not written", "see fleet status"})
	s.check(situation{"not deleted yet", "dev-0001", "north", "Removing", `which does not select it any more: label region is "north", wanted "west"`, "wait: it is taken down"})
	s.says(fleet.BucketDesiredState, fleet.DesiredKey(fleet.Pair{Device: "dev-0003", Deployment: "broken"}), `{"score":{"type":"sim"},"uid":"somebody"}`)
	s.check(situation{"written by somebody else", "dev-0003", "broken", "Unconfirmed", "was not written by the reconciler", "the reconciler rewrites it"})
}
