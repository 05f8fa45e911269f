package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet"
)

// What a plan says is what applying does: the devices that gain and lose it, and no others. Data comes back from the API as
// it was planned: what was applied is unchanged.
func TestPlan_IsWhatApplyingDoes(t *testing.T) {
	s := newSite(t)
	file := filepath.Join(s.Dir(), "web.yaml")
	s.write(file, "north", "1.0")
	s.planned(file, fleet.CandidateNew, "north")
	s.applies(file)
	s.planned(file, fleet.CandidateUnchanged, "")

	s.write(file, "east", "1.0")
	before := s.holders()
	got := s.planned(file, fleet.CandidateChanged, "east")
	out, code, err := s.command(t.Context(), "plan", "-f", file, "--exit-code")
	if err != nil || code != 3 || !strings.Contains(out, "WARNING") || !strings.Contains(out, "from 4 of the 4 devices that have it (100 %)") || !strings.Contains(out, "lets 4 deletes pass (edited") {
		t.Errorf("exit code %d, %v:\n%s", code, err, out)
	}
	if now := s.holders(); !slices.Equal(now, before) {
		t.Errorf("a plan has changed who has it: %v, now %v", before, now)
	}
	s.applies(file)
	s.Eventually(20*time.Second, "what was planned to be so", func(context.Context) error {
		if now := s.holders(); !slices.Equal(now, got.Gained) || !slices.Equal(before, got.Lost) {
			return fmt.Errorf("%v had it, %v have it; planned were %v lost and %v gained", before, now, got.Lost, got.Gained)
		}
		return nil
	})
	s.planned(file, fleet.CandidateUnchanged, "")
	s.write(file, "east", "2.5")
	if got := s.planned(file, fleet.CandidateChanged, ""); got.PutCount != 3 || got.DeleteCount+got.GainedCount+got.LostCount != 0 {
		t.Errorf("another score: %+v", got)
	}
}

// write writes a Deployment with data of each kind that YAML has, and that the API spells in its own way.
func (s *site) write(file, region, ratio string) {
	s.t.Helper()
	text := fmt.Sprintf(`apiVersion: fleet.harmony.dev/v1alpha1
kind: Deployment
metadata: {name: web}
spec:
  targetSelector:
    matchLabels: {region: %s}
    matchExpressions: []
  score:
    type: sim
    data: {image: "demo:1", ratio: %s, mask: 0x1f, on: yes, none: "", when: 2026-03-01, big: 9007199254740993, list: [1e3, -0.0, true]}
`, region, ratio)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// planned asks for the plan of a file until it says so, and gains the devices of a region, if any.
func (s *site) planned(file string, state fleet.CandidateState, region string) fleet.PlanShowResponse {
	s.t.Helper()
	var got struct {
		Items []struct {
			State fleet.CandidateState
			Plan  fleet.PlanShowResponse
		}
	}
	s.Eventually(20*time.Second, "a plan that says "+string(state), func(ctx context.Context) error {
		out, code, err := s.command(ctx, "plan", "-f", file, "-o", "json")
		if err = errors.Join(err, json.Unmarshal([]byte(out), &got)); err != nil || code != 0 {
			return fmt.Errorf("exit code %d, %w: %s", code, err, out)
		}
		if len(got.Items) != 1 || got.Items[0].State != state || !got.Items[0].Plan.Synced {
			return fmt.Errorf("it says %s", out)
		}
		if gained := got.Items[0].Plan.Gained; !slices.Equal(gained, regions[region]) {
			return fmt.Errorf("it gains %v, want %v: %s", gained, regions[region], out)
		}
		return nil
	})
	p := got.Items[0].Plan
	if state == fleet.CandidateUnchanged && p.PutCount+p.DeleteCount > 0 {
		s.t.Errorf("unchanged, and there is something to write: %+v", p)
	}
	return p
}

// regions are the simulated devices.
var regions = map[string][]fleet.DeviceID{
	"north": {"dev-0001", "dev-0005", "dev-0009", "dev-0013"},
	"east":  {"dev-0002", "dev-0006", "dev-0010"},
}

// applies applies a file as a person does, and waits until it is Ready.
func (s *site) applies(file string) {
	s.t.Helper()
	for _, args := range [][]string{{"apply", "-f", file}, {"wait", "--for=condition=Ready", "fdep/web", "--timeout=30s"}} {
		if out, err := s.Kubectl(s.t.Context(), args...); err != nil {
			s.t.Fatalf("kubectl %v: %v\n%s", args, err, out)
		}
	}
}

// holders are the devices that have web in desired-state, sorted.
func (s *site) holders() []fleet.DeviceID {
	s.t.Helper()
	keys, err := s.NATS.Keys(s.t.Context(), fleet.BucketDesiredState)
	if err != nil {
		s.t.Fatal(err)
	}
	var ids []fleet.DeviceID
	for key := range keys {
		if pair, err := fleet.ParseDesiredKey(key); err == nil && pair.Deployment == "web" {
			ids = append(ids, pair.Device)
		}
	}
	slices.Sort(ids)
	return ids
}
