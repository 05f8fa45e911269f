package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// The patience of these scenarios: the product's, 30 s, 90 s and 5 min, made shorter by the same factor.
const (
	r03Interval   = 2 * time.Second
	r03StaleAfter = 6 * time.Second
	r03Silence    = 20 * time.Second
)

// Fault:   three devices fall silent while all services are down (SIGKILL), one with its clock in 1970 and
// one with it in 2090; once the threshold passes while nobody looks, once just after the start.
// Promise: from the first moment the services are ready, their pairs are stale and their last phase
// (running, failed, pending) is kept, never silently running; back within a heartbeat when they return; no
// write for the other devices, whatever their clocks say.
// Budget:  stale within 2 s of the threshold or of being ready; back within one heartbeat, 2 s here.
// Found:   -
func TestR03_SilentWhileDown(t *testing.T) {
	s := lab.New(t, lab.Options{})
	services := startPatient(s, r03Interval, r03StaleAfter, r03Silence)
	s.StartDevices(6, "--heartbeat", r03Interval.String(), "--clock", "dev-0001=-490000h", "--clock", "dev-0002=561000h")
	lost := s.StartDevices(3, "--heartbeat", r03Interval.String(), "--first", "7", "--clock", "dev-0008=-490000h", "--clock", "dev-0009=561000h")
	registered(t, s, 9)
	s.API.Apply(deployment("web", region("north", "east", "south", "west")))
	s.API.Apply(scored("broken", region("south"), `{"fail":"no image"}`)) // dev-0003 and dev-0007
	s.API.Apply(scored("slow", region("west"), `{"delay":"1h"}`))         // dev-0004 and dev-0008
	r := &silentWhileDown{
		t: t, s: s, services: services, lost: lost, ids: []string{"dev-0007", "dev-0008", "dev-0009"},
		statuses: map[string]*lab.Statuses{},
	}
	for _, name := range []string{"web", "broken", "slow"} {
		r.statuses[name] = s.API.RecordStatuses(name)
	}
	r.settled()
	r.before = s.AtRest()

	t.Run("threshold passes while down", r.whileDown)
	t.Run("threshold passes after the start", r.afterStart)
}

// startPatient starts the three services with an aggregator that is so patient with devices.
func startPatient(s *lab.Stack, interval, stale, silence time.Duration) []*lab.Instance {
	s.T().Helper()
	all := []*lab.Instance{
		s.Start(fleet.ServicePatcher), s.Start(fleet.ServiceReconciler),
		s.Start(fleet.ServiceAggregator, "--tick", "200ms", "--heartbeat-interval", interval.String(),
			"--stale-after", stale.String(), "--silence-after", silence.String()),
	}
	s.WaitReady(len(all))
	return all
}

// scored is a Deployment whose score steers the simulated workload.
func scored(name string, selector fleet.Selector, data string) lab.Deployment {
	return lab.Deployment{Name: name, Selector: selector, Score: fleet.Score{Type: "sim", Data: json.RawMessage(data)}}
}

type silentWhileDown struct {
	t        *testing.T
	s        *lab.Stack
	services []*lab.Instance
	lost     *lab.Instance // the simulator of the devices that fall silent
	ids      []string      // those devices
	statuses map[string]*lab.Statuses
	before   lab.Picture
}

// settled waits until everybody is heard of.
func (r *silentWhileDown) settled() {
	r.t.Helper()
	settled(r.t, r.s, "web", counts(9, 9, 0, 0, 0), fleet.ConditionTrue)
	settled(r.t, r.s, "broken", counts(2, 0, 2, 0, 0), fleet.ConditionFalse)
	settled(r.t, r.s, "slow", counts(2, 0, 0, 2, 0), fleet.ConditionFalse)
}

// stale returns what is wrong with the statuses while the three are silent.
func (r *silentWhileDown) stale(ctx context.Context) error {
	for name, want := range staleWant {
		status, raw, err := r.s.API.Status(ctx, name)
		if err != nil {
			return err
		}
		if countsOf(status.Aggregate) != want.counts || status.Aggregate.StaleLastKnown != want.last {
			return fmt.Errorf("want %v of %s, last known %+v, got %s", want.counts, name, want.last, raw)
		}
	}
	return nil
}

type staleCounts struct {
	counts [5]int
	last   fleet.StaleLastKnown
}

var staleWant = map[string]staleCounts{
	"web":    {counts(9, 6, 0, 0, 3), fleet.StaleLastKnown{Running: 3}},
	"broken": {counts(2, 0, 1, 0, 1), fleet.StaleLastKnown{Failed: 1}},
	"slow":   {counts(2, 0, 0, 1, 1), fleet.StaleLastKnown{Pending: 1}},
}

func (r *silentWhileDown) whileDown(t *testing.T) {
	s := r.s
	published := r.published()
	fault.Inject(s, fault.Kill(r.services))
	fault.Inject(s, fault.RefuseNATS{r.lost})
	s.Eventually(30*time.Second, "the threshold passes on the server's stamps", func(ctx context.Context) error {
		newest, last, err := r.stamps(ctx)
		if err == nil && newest.Sub(last) <= r03StaleAfter {
			err = fmt.Errorf("silent for %s", newest.Sub(last))
		}
		return err
	})
	fault.Heal(s, fault.Kill(r.services))
	start := time.Now()
	s.WaitReady(3)
	if err := r.stale(t.Context()); err != nil { // no waiting: who is ready has said so
		t.Errorf("ready, and yet: %v", err)
	}
	s.Measured("silent devices shown as stale after a start", time.Since(start), 0)
	r.isStaleEverywhere(t)
	for name, all := range r.statuses {
		for _, status := range all.All()[published[name]:] {
			if got := (staleCounts{countsOf(status.Aggregate), status.Aggregate.StaleLastKnown}); got != staleWant[name] {
				t.Errorf("after the start a status of %s had %+v, want only %+v", name, got, staleWant[name])
			}
		}
	}
	r.back(t)
}

func (r *silentWhileDown) afterStart(t *testing.T) {
	s := r.s
	published := r.published()
	fault.Inject(s, fault.Kill(r.services))
	fault.Inject(s, fault.RefuseNATS{r.lost})
	fault.Heal(s, fault.Kill(r.services))
	s.WaitReady(3)
	ready := time.Now()
	s.Eventually(2*r03StaleAfter, "the silent devices are stale", r.stale)
	shown := time.Now()
	_, last, err := r.stamps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	due := last.Add(r03StaleAfter)
	if shown.Before(due) {
		t.Errorf("stale %s after the last message, before the threshold of %s", shown.Sub(last), r03StaleAfter)
	}
	if ready.After(due) {
		due = ready
	}
	s.Measured("threshold to stale", shown.Sub(due), 2*time.Second)
	r.isStaleEverywhere(t)
	for name, all := range r.statuses {
		if got := len(all.All()) - published[name]; got > 3 { // the devices cross the threshold one after the other
			t.Errorf("%d statuses of %s for three devices", got, name)
		}
	}
	r.back(t)
}

func (r *silentWhileDown) published() map[string]int {
	out := map[string]int{}
	for name, all := range r.statuses {
		out[name] = len(all.All())
	}
	return out
}

// stamps returns the server's newest stamp on a heartbeat of anybody, and on anything of the silent devices.
func (r *silentWhileDown) stamps(ctx context.Context) (newest, last time.Time, err error) {
	for _, bucket := range []string{fleet.BucketDeviceHeartbeat, fleet.BucketDeviceInfo, fleet.BucketDeviceState} {
		entries, err := r.s.NATS.Keys(ctx, bucket)
		if err != nil {
			return newest, last, err
		}
		for key, e := range entries {
			if e.Stamp.After(newest) {
				newest = e.Stamp
			}
			if r.isLost(key) && e.Stamp.After(last) {
				last = e.Stamp
			}
		}
	}
	return newest, last, nil
}

// spokeAfter returns when the last of the silent devices began to speak after a time: what an agent says
// first of all is its info, once. It is an error while one has not.
func (r *silentWhileDown) spokeAfter(ctx context.Context, t time.Time) (spoke time.Time, err error) {
	entries, err := r.s.NATS.Keys(ctx, fleet.BucketDeviceInfo)
	if err != nil {
		return spoke, err
	}
	for _, id := range r.ids {
		at := entries[fleet.InfoKey(fleet.DeviceID(id))].Stamp
		if !at.After(t) {
			return spoke, fmt.Errorf("%s has been silent since %s", id, at)
		}
		if at.After(spoke) {
			spoke = at
		}
	}
	return spoke, nil
}

// isLost reports whether a key or the name of a resource belongs to a device that falls silent.
func (r *silentWhileDown) isLost(key string) bool {
	return slices.ContainsFunc(r.ids, func(id string) bool { return strings.Contains(key, id) })
}

// isStaleEverywhere checks the answers to queries and the Devices.
func (r *silentWhileDown) isStaleEverywhere(t *testing.T) {
	t.Helper()
	want := map[string]fleet.Class{"dev-0007.web": fleet.ClassRunning, "dev-0007.broken": fleet.ClassFailed, "dev-0008.slow": fleet.ClassPending}
	for _, id := range r.ids {
		req := fleet.GetRequest{Name: id}
		got, err := rpc.Call[fleet.GetRequest, fleet.DevicesGetResponse](t.Context(), r.s.Conn(), fleet.DevicesGet, req)
		if err != nil {
			t.Errorf("ask for %s: %v", id, err)
			continue
		}
		if got.Device.State != fleet.DeviceStale {
			t.Errorf("asked for %s, the aggregator says %s", id, got.Device.State)
		}
		for _, p := range got.Pairs {
			last, ok := want[id+"."+string(p.Deployment)]
			if p.Class != fleet.ClassStale || ok && p.LastKnown != last {
				t.Errorf("pair %s.%s is %s, last known %s", id, p.Deployment, p.Class, p.LastKnown)
			}
		}
	}
	r.recorded(fleet.DeviceStale)
}

// recorded waits until the Devices of those that fall silent show a state.
func (r *silentWhileDown) recorded(want fleet.DeviceState) {
	r.t.Helper()
	r.s.Eventually(5*time.Second, "their Devices are "+string(want), func(ctx context.Context) error {
		all, err := r.s.API.Resources(ctx)
		if err != nil {
			return err
		}
		for _, id := range r.ids {
			var status fleet.DeviceStatus
			if err := json.Unmarshal([]byte(all[fleet.KindDevice+"/"+id].Status), &status); err != nil {
				return err
			}
			if status.State != want {
				return fmt.Errorf("%s is %s", id, status.State)
			}
		}
		return nil
	})
}

// back lets the devices return, and checks that nothing else was touched.
func (r *silentWhileDown) back(t *testing.T) {
	s := r.s
	_, last, err := r.stamps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fault.Heal(s, fault.RefuseNATS{r.lost})
	var spoke time.Time
	s.Eventually(10*time.Second, "the devices speak again", func(ctx context.Context) error {
		spoke, err = r.spokeAfter(ctx, last)
		return err
	})
	r.settled()
	s.Measured("first message of a device to its pairs counted again", time.Since(spoke), r03Interval)
	r.recorded(fleet.DeviceFresh)
	for _, d := range lab.Changed(fleet.BucketDesiredState+"/", r.before.Keys[fleet.BucketDesiredState], s.AtRest().Keys[fleet.BucketDesiredState]) {
		t.Errorf("a wish was touched: %s", d)
	}
	after := s.MustPicture()
	for name, resource := range r.before.Resources {
		device := strings.HasPrefix(name, fleet.KindDevice+"/")
		switch now := after.Resources[name]; {
		case device && !r.isLost(name) && now != resource:
			t.Errorf("%s was written: %v became %v", name, resource, now)
		case !device && withoutTimes(t, now.Status) != withoutTimes(t, resource.Status):
			t.Errorf("the status of %s is not what it was: %s became %s", name, resource.Status, now.Status)
		}
	}
}

// withoutTimes is a status of a Deployment without the times that its conditions changed at.
func withoutTimes(t *testing.T, raw string) string {
	t.Helper()
	var status fleet.DeploymentStatus
	if err := json.Unmarshal([]byte(raw), &status); err != nil {
		t.Fatalf("parse a status: %v", err)
	}
	for i := range status.Conditions {
		status.Conditions[i].LastTransitionTime = nil
	}
	out, err := json.Marshal(status)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
