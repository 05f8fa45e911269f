package sweep

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"harmony.dev/e2e/lab"
	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// devices is how many a story has.
const devices = 3

// story is one telling. Its name is part of the name of everything in it, so that many can be told on one
// stack; in what is compared the name is left out.
type story struct {
	stack   *lab.Stack
	name    string // "s07"
	devices *lab.Instance
}

// step is something that a person or a device does.
type step struct {
	name string
	do   func(*story)
	// done says when the reference run may look at the outcome; the others wait for that outcome.
	done func(ctx context.Context, s *story) error
}

func steps() []step {
	return []step{
		{"devices register", (*story).register, func(ctx context.Context, s *story) error { return s.exist(ctx, devices) }},
		{"deployment applied", func(s *story) { s.apply(`{"image":"demo:1"}`, "arm64", "amd64") }, runningOn(devices)},
		{"score edited", func(s *story) { s.apply(`{"image":"demo:2"}`, "arm64", "amd64") }, runningOn(devices)},
		{"selector narrowed", func(s *story) { s.apply(`{"image":"demo:2"}`, "arm64") }, runningOn(2)},
		{"deployment deleted", func(s *story) { s.stack.API.Delete(fleet.KindDeployment, s.deployment()) }, func(ctx context.Context, s *story) error {
			return s.stack.API.Gone(ctx, fleet.KindDeployment, s.deployment())
		}},
		{"devices deleted", (*story).unregister, func(ctx context.Context, s *story) error { return s.exist(ctx, 0) }},
	}
}

func (s *story) deployment() string { return s.name + "-web" }

func (s *story) register() {
	s.devices = s.stack.StartDevices(devices, "--prefix", s.name+"-", "--label-cycle", "story="+s.name, "--delay", "0s..1ms")
}

func (s *story) unregister() {
	s.devices.Stop() // or they would register again
	for n := range devices {
		s.stack.API.Delete(fleet.KindDevice, fmt.Sprintf("%s-%04d", s.name, n+1))
	}
}

func (s *story) apply(score string, arch ...string) {
	s.stack.API.Apply(lab.Deployment{
		Name: s.deployment(), Score: fleet.Score{Type: "sim", Data: json.RawMessage(score)},
		Selector: fleet.Selector{
			MatchLabels:      map[string]string{"story": s.name},
			MatchExpressions: []fleet.SelectorRequirement{{Key: "arch", Operator: "In", Values: arch}},
		},
	})
}

// exist returns why there are not so many Devices of the story.
func (s *story) exist(ctx context.Context, want int) error {
	return s.stack.API.Devices(ctx, want, s.name+"-")
}

func runningOn(n int) func(context.Context, *story) error {
	return func(ctx context.Context, s *story) error {
		u, err := s.stack.API.Get(ctx, fleet.KindDeployment, s.deployment())
		if err != nil {
			return err
		}
		status, raw, err := s.stack.API.Status(ctx, s.deployment())
		if err != nil {
			return err
		}
		a := status.Aggregate
		if a.Running != n || a.MatchedDeviceCount != n || status.ObservedGeneration != u.GetGeneration() {
			return fmt.Errorf("want %d running of generation %d, got %s", n, u.GetGeneration(), raw)
		}
		return nil
	}
}

// What differs between tellings without meaning anything.
var (
	uids   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	hashes = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	facts  = regexp.MustCompile(`"inventory":\{[^}]*\}`) // drawn from the device's name
	times  = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)
)

func (s *story) neutral(text string) string {
	text = strings.ReplaceAll(text, s.name, "story")
	text = uids.ReplaceAllString(text, "UID")
	text = facts.ReplaceAllString(text, "FACTS")
	text = hashes.ReplaceAllString(text, "HASH")
	return times.ReplaceAllString(text, "TIME")
}

// outcome is all that there is of the story: resources and keys with their values.
func (s *story) outcome(p lab.Picture) map[string]string {
	out := map[string]string{}
	for name, r := range p.Resources {
		if strings.Contains(name, "/"+s.name+"-") {
			out[s.neutral(name)] = s.neutral(r.Status + " " + r.Rest)
		}
	}
	for bucket, keys := range p.Keys {
		for key, e := range keys {
			if strings.Contains(key, s.name+"-") {
				out[s.neutral(bucket+"/"+key)] = s.neutral(e.Value)
			}
		}
	}
	return out
}

// operations are what was written under each key and to each resource, in order: in desired-state the puts and
// deletes, of what devices said the deletes, in the mirror the deletes, and the resources that were created and
// deleted; and both in the mirror and of resources whatever was written although it said so already, but for the time.
// Which states of a resource the mirror sees on the way, and how many statuses a change takes, is a matter of
// time, but none is written twice.
func (s *story) operations(r record.Recording) map[string]string {
	out, last := map[string]string{}, map[string]string{}
	for _, e := range r {
		key, value, kind := s.written(e)
		if key == "" {
			continue
		}
		before, known := last[key]
		last[key] = value
		if kind == "" {
			if !known || before != value {
				continue
			}
			kind = "written again"
		}
		out[key] = strings.TrimSpace(out[key] + " " + kind)
	}
	return out
}

// written returns what an event wrote for the story, under which key: "" for none. The kind is "" when it counts only
// as a repetition.
func (s *story) written(e record.Event) (key, value, kind string) {
	switch {
	case e.Op != nil && e.Op.Kind != record.OpExpire && strings.Contains(e.Op.Key, s.name+"-"):
		key, value, kind = s.neutral(e.Op.Bucket+"/"+e.Op.Key), e.Op.Value, string(e.Op.Kind)
		switch {
		case e.Op.Kind == record.OpDelete, e.Op.Bucket == fleet.BucketDesiredState:
		case e.Op.Bucket == fleet.BucketResources:
			kind = ""
		default:
			key = "" // what devices say: they say it again when they are asked
		}
	case e.Write != nil && e.Write.Kind != record.WriteListed && strings.HasPrefix(e.Write.Name, s.name+"-"):
		w := e.Write
		key, kind = s.neutral(w.Resource+"/"+w.Name), string(w.Kind)
		value = s.neutral(fmt.Sprint(w.UID, w.Generation, w.Deleting, w.Finalizers, w.Labels, string(w.Spec), string(w.Status)))
		if w.Kind == record.WriteModified {
			kind = ""
		}
	}
	return key, value, kind
}

// differences names what is not as in the reference run.
func differences(reference, got map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(reference)) {
		if v, ok := got[k]; !ok {
			out = append(out, k+" is missing")
		} else if v != reference[k] {
			out = append(out, fmt.Sprintf("%s is %s, in the reference run %s", k, v, reference[k]))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := reference[k]; !ok {
			out = append(out, k+" is new: "+got[k])
		}
	}
	return out
}
