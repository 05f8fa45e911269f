package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// The patience of this scenario: the product's, 30 s, 90 s and 5 min, made shorter by the same factor.
const (
	r21Interval   = 1500 * time.Millisecond
	r21StaleAfter = 4500 * time.Millisecond
	r21Grace      = 15 * time.Second
)

// Fault:   the devices' side of the network is cut, so that all heartbeats stop at once; later two devices
// return, then all but one, which never does.
// Promise: no key deleted; no status written during the grace, then one per Deployment, reason
// HeartbeatsSilent; no Device written, neither in the silence nor when it ends, but the one that stays away;
// health and "fleet status" show one incident; back to the same statuses.
// Budget:  shown as an incident within two thresholds; the statuses within 5 s of the end of the grace.
// Found:   when the first device spoke again, every other one was written as stale, and as fresh again
// when it returned: two Device writes for each device of the fleet.
func TestR21_AllHeartbeatsStop(t *testing.T) {
	s := lab.New(t, lab.Options{})
	startPatient(s, r21Interval, r21StaleAfter, r21Grace)
	beat := []string{"--heartbeat", r21Interval.String()}
	r := &allSilent{
		t: t, s: s, statuses: map[string]*lab.Statuses{},
		first: s.StartDevices(2, beat...), rest: s.StartDevices(21, append(beat, "--first", "3")...), gone: s.StartDevices(1, append(beat, "--first", "24")...),
	}
	registered(t, s, 24)
	s.API.Apply(deployment("web", region("north", "east", "south", "west")))
	s.API.Apply(scored("broken", region("south"), `{"fail":"no image"}`))
	s.API.Apply(scored("slow", region("east"), `{"delay":"1h"}`))
	s.API.Apply(deployment("nobody", region("moon")))
	for _, name := range []string{"web", "broken", "slow", "nobody"} {
		r.statuses[name] = s.API.RecordStatuses(name)
	}
	r.settled()
	settled(t, s, "nobody", counts(0, 0, 0, 0, 0), fleet.ConditionTrue)
	r.before = s.AtRest()

	fault.Inject(s, fault.RefuseNATS{r.first, r.rest, r.gone})
	r.grace()
	r.incident()
	r.firstReturn()
	r.restReturns()
	r.goneStays()

	fault.Heal(s, fault.RefuseNATS{r.gone})
	r.settled()
	after := s.AtRest()
	r.untouched(after, "dev-0024")
	for name, resource := range r.before.Resources {
		if strings.HasPrefix(name, fleet.KindDeployment+"/") {
			if was, is := withoutTimes(t, resource.Status), withoutTimes(t, after.Resources[name].Status); was != is {
				t.Errorf("the status of %s is not what it was: %s became %s", name, was, is)
			}
		}
	}
}

type allSilent struct {
	t                 *testing.T
	s                 *lab.Stack
	first, rest, gone *lab.Instance // simulators
	statuses          map[string]*lab.Statuses
	before            lab.Picture
	published         map[string]int // statuses before the fault
}

// settled waits until everybody is heard of.
func (r *allSilent) settled() {
	r.t.Helper()
	settled(r.t, r.s, "web", counts(24, 24, 0, 0, 0), fleet.ConditionTrue)
	settled(r.t, r.s, "broken", counts(6, 0, 6, 0, 0), fleet.ConditionFalse)
	settled(r.t, r.s, "slow", counts(6, 0, 0, 6, 0), fleet.ConditionFalse)
}

// grace follows the silence until it counts.
func (r *allSilent) grace() {
	t, s := r.t, r.s
	r.published = map[string]int{}
	for name, all := range r.statuses {
		r.published[name] = len(all.All())
	}
	silent := r.newest()
	s.Steady(func() {
		s.Eventually(2*r21StaleAfter, "health shows the incident", func(ctx context.Context) error {
			return incidents(s.Health(ctx), 1)
		})
		s.Measured("last heartbeat to the incident shown", time.Since(silent), 2*r21StaleAfter)
		if d := lab.Difference(r.before, s.MustPicture()); len(d) > 0 {
			t.Errorf("written in the grace: %q", d)
		}
	})
	s.Eventually(2*r21Grace, "a status is written", func(ctx context.Context) error {
		now, err := s.API.Resources(ctx)
		if err == nil && maps.Equal(now, r.before.Resources) {
			err = fmt.Errorf("nothing is")
		}
		return err
	})
	if took := time.Since(silent); took < r21Grace {
		t.Errorf("a status was written %s after the last heartbeat, in the grace of %s", took, r21Grace)
	}
	s.Eventually(5*time.Second, "each Deployment says so", func(ctx context.Context) error {
		return r.silentStatuses(ctx)
	})
	s.Measured("last heartbeat to every status", time.Since(silent), r21Grace+5*time.Second)
}

// newest is the server's newest stamp on a heartbeat.
func (r *allSilent) newest() (newest time.Time) {
	r.t.Helper()
	entries, err := r.s.NATS.Keys(r.t.Context(), fleet.BucketDeviceHeartbeat)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Stamp.After(newest) {
			newest = e.Stamp
		}
	}
	return newest
}

// incidents returns an error unless all services together give just so many reasons, all of them the silence.
func incidents(all []fleet.Health, want int) error {
	n := 0
	for _, h := range all {
		for _, reason := range h.Reasons {
			if reason.Reason != fleet.ReasonHeartbeatsSilent {
				return fmt.Errorf("%s says %+v", h.Instance, reason)
			}
			n++
		}
	}
	if len(all) != len(fleet.Services()) || n != want {
		return fmt.Errorf("%d reasons of %d instances", n, len(all))
	}
	return nil
}

// silentStatuses returns what is wrong with the statuses while nobody is heard of.
func (r *allSilent) silentStatuses(ctx context.Context) error {
	for name, want := range map[string]staleCounts{
		"web":    {counts(24, 0, 0, 0, 24), fleet.StaleLastKnown{Running: 24}},
		"broken": {counts(6, 0, 0, 0, 6), fleet.StaleLastKnown{Failed: 6}},
		"slow":   {counts(6, 0, 0, 0, 6), fleet.StaleLastKnown{Pending: 6}},
	} {
		status, raw, err := r.s.API.Status(ctx, name)
		if err != nil {
			return err
		}
		ready := lab.Condition(status, fleet.ConditionReady)
		if countsOf(status.Aggregate) != want.counts || status.Aggregate.StaleLastKnown != want.last || ready.Reason != fleet.ReasonHeartbeatsSilent {
			return fmt.Errorf("want %+v of %s and %s, got %s", want, name, fleet.ReasonHeartbeatsSilent, raw)
		}
	}
	return nil
}

// incident checks the silence once it counts.
func (r *allSilent) incident() {
	t, s := r.t, r.s
	during := s.AtRest()
	r.untouched(during)
	for name, want := range map[string]int{"web": 1, "broken": 1, "slow": 1, "nobody": 0} {
		if got := len(r.statuses[name].All()) - r.published[name]; got != want {
			t.Errorf("%d statuses of %s since the silence began, want %d", got, name, want)
		}
	}
	for _, bucket := range []string{fleet.BucketDeviceInfo, fleet.BucketDeviceState} {
		if d := lab.Changed(bucket+"/", r.before.Keys[bucket], during.Keys[bucket]); len(d) > 0 {
			t.Errorf("what the devices wrote was touched: %q", d)
		}
	}
	if err := incidents(s.Health(t.Context()), 1); err != nil {
		t.Errorf("health: %v", err)
	}
	if out, err := s.FleetCommand(t.Context(), "status"); strings.Count(out, fleet.ReasonHeartbeatsSilent) != 1 {
		t.Errorf("want one incident of 'fleet status' (%v):\n%s", err, out)
	}
}

// untouched checks that no wish and no Device was written, but for those Devices.
func (r *allSilent) untouched(now lab.Picture, but ...string) {
	r.t.Helper()
	if d := lab.Changed("", r.before.Keys[fleet.BucketDesiredState], now.Keys[fleet.BucketDesiredState]); len(d) > 0 {
		r.t.Errorf("a wish was touched: %q", d)
	}
	was, is := devicesOf(r.before), devicesOf(now)
	for _, name := range but {
		delete(was, name)
		delete(is, name)
	}
	if d := lab.Changed("", was, is); len(d) > 0 {
		r.t.Errorf("%d Devices were written, the first: %s", len(d), d[0])
	}
}

// devicesOf are the Devices of a picture by name.
func devicesOf(p lab.Picture) map[string]lab.Resource {
	out := map[string]lab.Resource{}
	for name, resource := range p.Resources {
		if id, ok := strings.CutPrefix(name, fleet.KindDevice+"/"); ok {
			out[id] = resource
		}
	}
	return out
}

// firstReturn lets two devices speak again: the incident is over, and the others are given time.
func (r *allSilent) firstReturn() {
	s := r.s
	fault.Heal(s, fault.RefuseNATS{r.first})
	s.Eventually(10*time.Second, "the first are counted again", func(ctx context.Context) error {
		status, raw, err := s.API.Status(ctx, "web")
		if err == nil && (countsOf(status.Aggregate) != counts(24, 2, 0, 0, 22) || lab.Condition(status, fleet.ConditionReady).Reason != fleet.ReasonAllRunning) {
			err = fmt.Errorf("got %s", raw)
		}
		return err
	})
	s.Eventually(5*time.Second, "the incident is over", func(ctx context.Context) error {
		return incidents(s.Health(ctx), 0)
	})
	r.untouched(s.MustPicture())
}

// restReturns lets all but one speak again.
func (r *allSilent) restReturns() {
	s := r.s
	fault.Heal(s, fault.RefuseNATS{r.rest})
	healed := time.Now()
	settled(r.t, s, "web", counts(24, 23, 0, 0, 1), fleet.ConditionTrue)
	s.Measured("return of the devices to their pairs counted", time.Since(healed), 5*time.Second)
	settled(r.t, s, "broken", counts(6, 0, 6, 0, 0), fleet.ConditionFalse)
	r.untouched(s.MustPicture(), "dev-0024")
}

// goneStays waits until the device that does not return is recorded, alone.
func (r *allSilent) goneStays() {
	s := r.s
	s.Eventually(2*r21StaleAfter, "the Device of the one that stays away says so", func(ctx context.Context) error {
		all, err := s.API.Resources(ctx)
		if err != nil {
			return err
		}
		var status fleet.DeviceStatus
		if err := json.Unmarshal([]byte(all[fleet.KindDevice+"/dev-0024"].Status), &status); err != nil {
			return err
		}
		if status.State != fleet.DeviceStale {
			return fmt.Errorf("it is %s", status.State)
		}
		return nil
	})
	r.untouched(s.MustPicture(), "dev-0024")
}
