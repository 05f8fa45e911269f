package invariant

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// script writes a recording as a stack would that works, unless it is told otherwise. A second passes
// before each event of a scenario, a millisecond before each other.
type script struct {
	rec         record.Recording
	now         time.Time
	version     int
	revision    map[string]uint64
	incarnation map[string]int
	epochs      map[string]uint64
	resources   map[string]*record.Write
	keys        map[string]map[string]record.Entry
}

func newScript() *script {
	return &script{
		now:      time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		revision: map[string]uint64{}, incarnation: map[string]int{}, epochs: map[string]uint64{},
		resources: map[string]*record.Write{}, keys: map[string]map[string]record.Entry{},
	}
}

func (s *script) after(d time.Duration) *script {
	s.now = s.now.Add(d)
	return s
}

func (s *script) add(e record.Event) {
	s.now = s.now.Add(time.Millisecond)
	e.At = s.now
	s.rec = append(s.rec, e)
}

// op adds an operation; the zero revision means the next one.
func (s *script) op(o record.Op) uint64 {
	if s.incarnation[o.Bucket] == 0 {
		s.found(o.Bucket)
	}
	if o.Revision == 0 {
		o.Revision = s.revision[o.Bucket] + o.Missed + 1
	}
	s.revision[o.Bucket], o.Incarnation = o.Revision, s.incarnation[o.Bucket]
	if o.Kind == "" {
		o.Kind = record.OpPut
	}
	if o.Stamp.IsZero() {
		o.Stamp = s.now
	}
	if s.keys[o.Bucket] == nil {
		s.keys[o.Bucket] = map[string]record.Entry{}
	}
	delete(s.keys[o.Bucket], o.Key)
	if o.Kind == record.OpPut && !fleet.IsReserved(o.Key) {
		s.keys[o.Bucket][o.Key] = record.Entry{Revision: o.Revision, Value: o.Value, Stamp: o.Stamp}
	}
	s.add(record.Event{Op: &o})
	return o.Revision
}

// found begins an incarnation of a bucket.
func (s *script) found(bucket string) *script {
	s.incarnation[bucket]++
	s.revision[bucket], s.keys[bucket] = 100, map[string]record.Entry{}
	s.stream(bucket, record.StreamFound, 0)
	return s
}

func (s *script) stream(bucket string, kind record.StreamKind, consumers int) {
	s.add(record.Event{Stream: &record.Stream{Bucket: bucket, Incarnation: s.incarnation[bucket], Kind: kind, Consumers: consumers}})
}

// put writes as somebody who has no epoch does.
func (s *script) put(bucket, key, value string) uint64 {
	return s.op(record.Op{Bucket: bucket, Key: key, Value: value})
}

// own writes as the holder does.
func (s *script) own(bucket, key, value string) uint64 {
	return s.op(record.Op{Bucket: bucket, Key: key, Value: value, Epoch: s.epochs[bucket]})
}

// lease writes the lease of a holder.
func (s *script) lease(bucket, instance string) {
	s.put(bucket, fleet.KeyLease, encoded(fleet.LeaseRecord{Instance: instance, Term: "term of " + instance}))
}

// take takes the lease and an epoch.
func (s *script) take(bucket, instance string) uint64 {
	s.lease(bucket, instance)
	s.epochs[bucket] = s.put(bucket, fleet.KeyEpoch, encoded(fleet.EpochRecord{Instance: instance, Term: "term of " + instance}))
	return s.epochs[bucket]
}

// vouch has a patcher take the mirror and say that it is whole.
func (s *script) vouch() {
	epoch := s.take(fleet.BucketResources, "patcher-1")
	s.own(fleet.BucketResources, fleet.KeySynced, encoded(fleet.Synced{Epoch: epoch}))
}

// write writes a resource.
func (s *script) write(kind record.WriteKind, w record.Write) {
	s.version++
	w.Kind, w.ResourceVersion = kind, strconv.Itoa(s.version)
	s.add(record.Event{Write: &w})
	key := lineOf(w.Resource, w.Name)
	if s.resources[key] = &w; kind == record.WriteDeleted {
		delete(s.resources, key)
	}
}

// change changes a resource.
func (s *script) change(kind, name string, f func(*record.Write)) {
	w := *s.resources[lineOf(kind, name)]
	w.Labels = maps.Clone(w.Labels)
	f(&w)
	s.write(record.WriteModified, w)
}

const (
	web       = "web"
	webUID    = "uid-web"
	oldScore  = `{"type":"sim","data":{"v":1}}`
	newScore  = `{"type":"sim","data":{"v":2}}`
	deviceTwo = "pi-2"
)

func deployment(name, uid, region, score string) record.Write {
	return record.Write{
		Resource: fleet.KindDeployment, Name: name, UID: uid, Generation: 1,
		Finalizers: []string{fleet.FinalizerDesiredState}, Spec: spec(region, score),
	}
}

func spec(region, score string) json.RawMessage {
	return json.RawMessage(`{"targetSelector":{"matchLabels":{"region":"` + region + `"}},"score":` + score + `}`)
}

func device(name, region string) record.Write {
	return record.Write{
		Resource: fleet.KindDevice, Name: name, UID: "uid-" + name, Generation: 1,
		Finalizers: []string{fleet.FinalizerDesiredState, fleet.FinalizerDeviceData},
		Labels:     map[string]string{"region": region}, Spec: json.RawMessage(`{}`),
	}
}

// mirror writes what the patcher says of a resource.
func (s *script) mirror(kind, name string) {
	w, ok := s.resources[lineOf(kind, name)]
	switch {
	case kind == fleet.KindDeployment && !ok:
		s.own(fleet.BucketResources, "deployment."+name, `{"tombstone":{"cause":"deleted","at":"2026-03-01T12:00:00Z"}}`)
	case kind == fleet.KindDeployment:
		m := fleet.MirrorDeployment{UID: w.UID, Generation: w.Generation, Deleting: w.Deleting}
		check(json.Unmarshal(w.Spec, &m))
		s.own(fleet.BucketResources, "deployment."+name, encoded(m))
	case !ok:
		s.own(fleet.BucketResources, "device."+name, `{"tombstone":{"cause":"deleted","at":"2026-03-01T12:00:00Z"}}`)
	default:
		q := strings.Contains(string(w.Spec), "true")
		s.own(fleet.BucketResources, "device."+name, encoded(fleet.MirrorDevice{UID: w.UID, Generation: w.Generation, Labels: w.Labels, Deleting: w.Deleting, Quarantined: q}))
	}
}

// value returns the desired value of a score.
func value(uid, score string) string {
	var sc fleet.Score
	check(json.Unmarshal([]byte(score), &sc))
	b, err := fleet.EncodeDesired(fleet.Desired{UID: uid, Score: sc})
	check(err)
	return string(b)
}

func (s *script) desire(device, value string) uint64 {
	return s.own(fleet.BucketDesiredState, device+"."+web, value)
}

func (s *script) remove(device string, cause fleet.Cause) uint64 {
	return s.op(record.Op{
		Bucket: fleet.BucketDesiredState, Key: device + "." + web, Kind: record.OpDelete,
		Epoch: s.epochs[fleet.BucketDesiredState], Cause: cause,
	})
}

func (s *script) applied(uid string, generation int64) {
	s.own(fleet.BucketDesiredState, "_applied."+web, encoded(fleet.Applied{UID: uid, Generation: generation}))
}

func report(phase fleet.Phase, value string) string {
	r := fleet.Report{Phase: phase, ObservedHash: fleet.Hash([]byte(value)), LastEventAt: "2026-03-01T12:00:00Z"}
	if phase == fleet.PhaseFailed {
		r.LastError = "it broke"
	}
	return encoded(r)
}

func (s *script) report(device string, phase fleet.Phase, value string) {
	s.put(fleet.BucketDeviceState, "state."+device+"."+web, report(phase, value))
}

// beat has devices send a heartbeat.
func (s *script) beat(devices ...string) {
	for _, name := range devices {
		s.put(fleet.BucketDeviceHeartbeat, "heartbeat."+name, "{}")
	}
}

// counts are running, failed, pending, stale ones that ran, failed, were pending.
func status(generation int64, counts ...int) fleet.DeploymentStatus {
	c := append(counts, make([]int, 6-len(counts))...)
	s := fleet.DeploymentStatus{ObservedGeneration: generation}
	s.Aggregate = fleet.Aggregate{
		Running: c[0], Failed: c[1], Pending: c[2], Stale: c[3] + c[4] + c[5],
		StaleLastKnown: fleet.StaleLastKnown{Running: c[3], Failed: c[4], Pending: c[5]},
	}
	s.Aggregate.MatchedDeviceCount = c[0] + c[1] + c[2] + s.Aggregate.Stale
	ready := fleet.ConditionTrue
	if c[1]+c[2]+c[4]+c[5] > 0 {
		ready = fleet.ConditionFalse
	}
	s.Conditions = []fleet.Condition{
		{Type: fleet.ConditionReady, Status: ready},
		{Type: fleet.ConditionReconciling, Status: fleet.ConditionFalse},
		{Type: fleet.ConditionStalled, Status: fleet.ConditionFalse},
	}
	return s
}

// say writes a status of web.
func (s *script) say(st fleet.DeploymentStatus) {
	s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Status = json.RawMessage(encoded(st)) })
}

func stalled(st fleet.DeploymentStatus, reason string) fleet.DeploymentStatus {
	st.Conditions[0].Status = fleet.ConditionFalse
	st.Conditions[2].Status, st.Conditions[2].Reason = fleet.ConditionTrue, reason
	return st
}

func (s *script) process(kind record.ProcessKind, service string) {
	s.add(record.Event{Process: &record.Process{Kind: kind, Service: service, Instance: service + "-1"}})
}

func (s *script) fault(name, target string, loses ...string) {
	s.add(record.Event{Fault: &record.Fault{Name: name, Target: target, Loses: loses}})
}

func (s *script) rest() { s.restReady(true) }

func (s *script) restReady(ready bool) {
	r := &record.Rest{Ready: ready, Keys: map[string]map[string]record.Entry{}}
	for _, key := range slices.Sorted(maps.Keys(s.resources)) {
		w := *s.resources[key]
		w.Kind = record.WriteListed
		r.Resources = append(r.Resources, w)
	}
	for bucket, keys := range s.keys {
		if bucket != fleet.BucketDeviceHeartbeat {
			r.Keys[bucket] = maps.Clone(keys)
		}
	}
	s.add(record.Event{Rest: r})
}

func (s *script) steady(end bool) { s.add(record.Event{Steady: &record.Steady{End: end}}) }

// settled is a stack in which web runs on pi-1 and pi-2, both in the north, and not on pi-3 in the south. It is an
// hour ago that anything happened; the devices have just been heard of.
func settled() *script {
	s := newScript()
	for _, service := range fleet.Services() {
		s.process(record.ProcessStarted, service)
	}
	s.vouch()
	s.take(fleet.BucketDesiredState, "reconciler-1")
	s.take(fleet.BucketLeases, "aggregator-1")
	for name, region := range map[string]string{"pi-1": "north", deviceTwo: "north", "pi-3": "south"} {
		s.put(fleet.BucketDeviceInfo, "info."+name, `{"labels":{"region":"`+region+`"}}`)
		s.beat(name)
		s.write(record.WriteAdded, device(name, region))
		s.mirror(fleet.KindDevice, name)
	}
	s.write(record.WriteAdded, deployment(web, webUID, "north", oldScore))
	s.mirror(fleet.KindDeployment, web)
	s.after(10 * time.Second)
	s.desire("pi-1", value(webUID, oldScore))
	s.desire(deviceTwo, value(webUID, oldScore))
	s.applied(webUID, 1)
	s.say(status(1, 0, 0, 2))
	s.report("pi-1", fleet.PhaseRunning, value(webUID, oldScore))
	s.report(deviceTwo, fleet.PhaseRunning, value(webUID, oldScore))
	s.after(time.Second).say(status(1, 2))
	s.after(time.Hour).lease(fleet.BucketResources, "patcher-1")
	s.beat("pi-1", deviceTwo, "pi-3")
	return s
}

func encoded(v any) string {
	b, err := json.Marshal(v)
	check(err)
	return string(b)
}

func check(err error) {
	if err != nil {
		panic(err) // a mistake in a test
	}
}

// example is a recording and what a checker must say of it: want is part of the only violation, or nothing.
type example struct {
	name  string
	build func(s *script)
	want  string
}

// judged runs a checker over examples that begin with a settled stack.
func judged(t *testing.T, check func(*history) []Violation, examples []example) {
	t.Helper()
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			s := settled()
			e.build(s)
			s.after(10*time.Second).lease(fleet.BucketLeases, "aggregator-1")
			found := check(newHistory(s.rec))
			switch {
			case e.want == "" && len(found) > 0:
				t.Errorf("false alarm: %v", found)
			case e.want != "" && (len(found) != 1 || !strings.Contains(found[0].Message, e.want)):
				t.Errorf("got %v, want one violation with %q", found, e.want)
			}
			if len(found) == 1 && (found[0].Event < 0 || found[0].Event >= len(s.rec)) {
				t.Errorf("no event shows it: %v", found)
			}
		})
	}
}

func TestJudge_SettledStackIsSound(t *testing.T) {
	s := settled()
	s.rest()
	s.steady(false)
	s.after(10 * time.Second).steady(true)
	if found := Judge(s.rec); len(found) > 0 {
		t.Errorf("got %v", found)
	}
}

func TestAll_NameAndAboutOfEach(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range All() {
		if c.Name == "" || c.About == "" || seen[c.Name] || len(c.Check(nil)) > 0 {
			t.Errorf("checker %+v is without a name or about, is there twice, or finds something in nothing", c)
		}
		seen[c.Name] = true
	}
}

func TestJudge_NamesTheInvariant(t *testing.T) {
	s := settled()
	s.put(fleet.BucketDesiredState, fleet.KeyEpoch, `{}`)
	s.applied(webUID, 1)
	for _, found := range [][]Violation{Judge(s.rec), All()[0].Check(s.rec)} {
		if len(found) != 1 || !strings.HasPrefix(found[0].String(), "invariant fence: event ") {
			t.Errorf("got %v", found)
		}
	}
}

// TestJudge_IsNotQuadratic judges a recording as large as a scenario's can be. What it takes is the processor's
// time, so that it does not matter what else runs on the machine.
func TestJudge_IsNotQuadratic(t *testing.T) {
	s := settled()
	const devices = 1000
	for i := range devices {
		name := fmt.Sprintf("dev-%d", i)
		s.write(record.WriteAdded, device(name, "north"))
		s.mirror(fleet.KindDevice, name)
		s.desire(name, value(webUID, oldScore))
	}
	s.after(time.Minute)
	for i := range 20_000 {
		name := fmt.Sprintf("dev-%d", i%devices)
		s.report(name, []fleet.Phase{fleet.PhaseRunning, fleet.PhaseFailed}[i/devices%2], value(webUID, oldScore))
		s.lease(fleet.BucketDesiredState, "reconciler-1")
		s.say(status(1, 2, 0, devices*(i%2)))
		if i%devices == 0 { // an edit, and the last one is quarantined
			edit := int64(i/devices + 2)
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Generation = edit })
			s.mirror(fleet.KindDeployment, web)
			for d := range devices {
				s.desire(fmt.Sprintf("dev-%d", d), value(webUID, fmt.Sprintf(`{"type":"sim","data":{"v":%d}}`, edit)))
			}
			s.remove(fmt.Sprintf("dev-%d", devices-1), fleet.CauseQuarantined)
			s.remove(fmt.Sprintf("dev-%d", devices-2), fleet.CauseRelabelled)
			s.applied(webUID, edit)
			s.rest()
		}
	}
	began := processorTime(t)
	found := Judge(s.rec)
	took := processorTime(t) - began
	t.Logf("%d events in %s, %d violations", len(s.rec), took, len(found))
	if took > 30*time.Second { // the race detector costs a factor of ten
		t.Errorf("took %s", took)
	}
}

func processorTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano())
}
