package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// How soon the loss of a bucket is to be noticed, and put right.
const (
	noticedWithin   = 5 * time.Second
	correctedWithin = 10 * time.Second
)

// losing is a stack at rest whose buckets are lost, one after the other.
type losing struct {
	t       *testing.T
	s       *lab.Stack
	before  lab.Picture
	hearts  int      // devices that send heartbeats
	watched *watched // what the devices are told and say
}

// newLosing takes the stack as it is, with so many devices, as what is to be restored.
func newLosing(t *testing.T, s *lab.Stack, devices int) *losing {
	t.Helper()
	l := &losing{t: t, s: s, hearts: devices}
	s.Eventually(30*time.Second, "a heartbeat of each device", l.heard)
	l.before = s.AtRest()
	l.watched = watch(t, s, l.before)
	return l
}

// smallFleet starts a stack of twelve devices, most of which run something, and something that fails.
func smallFleet(t *testing.T, o lab.Options) *lab.Stack {
	t.Helper()
	s := lab.New(t, o)
	s.Start(fleet.ServicePatcher)
	s.Start(fleet.ServiceReconciler, wholeSnapshots...)
	s.Start(fleet.ServiceAggregator, fastHearts...)
	s.StartDevices(12, "--heartbeat", "5s")
	s.WaitReady(3)
	registered(t, s, 12)
	s.API.Apply(deployment("coast", region("east", "west")))
	s.API.Apply(lab.Deployment{Name: "broken", Selector: region("south"), Score: fleet.Score{Type: "sim", Data: json.RawMessage(`{"fail":"no such image"}`)}})
	settled(t, s, "coast", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "broken", counts(3, 0, 3, 0, 0), fleet.ConditionFalse)
	return s
}

var (
	// Devices may remove what is not in their snapshot almost at once, as in a fleet that is old: the grace
	// for new buckets protects nothing here.
	wholeSnapshots = []string{"--incomplete-for", "1s"}
	// Heartbeats are six times as fast as usual, with what is judged by them.
	fastHearts = []string{"--heartbeat-interval", "5s", "--stale-after", "15s", "--silence-after", "50s"}
)

// lose injects the loss of some buckets and asserts that it is noticed and put right in time, and that
// nothing else happens.
func (l *losing) lose(f fault.Fault, buckets ...string) {
	l.t.Helper()
	seen := l.sightings(l.t.Context(), buckets, nil)
	what := f.Name() + " " + f.Target()
	fault.Inject(l.s, f)
	start := time.Now()
	l.s.Eventually(60*time.Second, what+" noticed", func(ctx context.Context) error {
		now := map[string]stored{}
		for _, bucket := range buckets {
			now[bucket] = l.stored(ctx, bucket)
		}
		return unnoticed(seen, l.sightings(ctx, buckets, now))
	})
	l.s.Measured(what+": noticed", time.Since(start), noticedWithin)
	var at time.Time
	l.s.Eventually(60*time.Second, what+" corrected", func(ctx context.Context) (err error) {
		at, err = l.corrected(ctx, buckets)
		return err
	})
	l.s.Measured(what+": corrected", at.Sub(start), correctedWithin)
	after := l.s.AtRest()
	if d := l.difference(after); len(d) > 0 {
		l.t.Errorf("%s changed something: %q", what, d)
	}
	for _, bucket := range []string{fleet.BucketDesiredState, fleet.BucketResources} {
		if slices.Contains(buckets, bucket) {
			continue
		}
		if d := lab.Changed("", l.before.Keys[bucket], after.Keys[bucket]); len(d) > 0 {
			l.t.Errorf("%s: %s was written, which was not lost: %q", what, bucket, d)
		}
	}
	l.views(what, after)
	for _, e := range l.watched.take() {
		l.t.Errorf("%s: %s", what, e)
	}
	l.before = after
}

// sightings are how often each instance began to read each of the buckets, and the epoch of each lease
// on them. Who has in view just what is in a bucket, and all that was written into it, has noticed as well:
// after a purge the owner may be so fast that nothing is left to be noticed.
func (l *losing) sightings(ctx context.Context, buckets []string, now map[string]stored) map[string]uint64 {
	out := map[string]uint64{}
	for _, h := range l.s.Health(ctx) {
		for _, s := range h.Sources {
			if !slices.Contains(buckets, s.Name) {
				continue
			}
			out[h.Service+" reads "+s.Name] = s.Pass
			if now != nil && !s.Synced || now[s.Name].inView(s) {
				out[h.Service+" reads "+s.Name]++
			}
		}
		if h.Lease != nil && slices.Contains(buckets, h.Lease.Bucket) {
			out[h.Service+" leads by "+h.Lease.Bucket] = h.Lease.Epoch
		}
	}
	return out
}

// stored is what is in a bucket.
type stored struct {
	keys map[string]lab.Entry
	last uint64 // sequence that its stream is at
}

// stored is empty while there is no stream.
func (l *losing) stored(ctx context.Context, bucket string) (now stored) {
	now.keys, _ = l.s.NATS.Keys(ctx, bucket)
	if stream, err := l.s.NATS.JetStream().Stream(ctx, fleet.StreamName(bucket)); err == nil {
		now.last = stream.CachedInfo().State.LastSeq
	}
	return now
}

// inView reports whether a reader has just this in view. One that is ahead of the stream has not noticed that it was set
// back.
func (now stored) inView(s fleet.Source) bool {
	for _, e := range now.keys {
		if e.Revision > s.Seq {
			return false
		}
	}
	return len(now.keys) > 0 && len(now.keys) == s.Entries && s.Seq <= now.last
}

// unnoticed returns who has not noticed that what was seen before is gone.
func unnoticed(before, now map[string]uint64) error {
	for _, who := range slices.Sorted(maps.Keys(before)) {
		n, ok := now[who]
		if !ok {
			return fmt.Errorf("%s: no answer", who)
		}
		if n == before[who] {
			return fmt.Errorf("%s as before: %d", who, n)
		}
	}
	if len(before) == 0 {
		return fmt.Errorf("nobody read it before")
	}
	return nil
}

// corrected returns what is not as it was, or since when everything is: when the instances are seen to be at
// rest, and the last key was written into the buckets that were lost. To read all of them takes longer.
func (l *losing) corrected(ctx context.Context, buckets []string) (at time.Time, err error) {
	for bucket, keys := range wanted(l.before) { // cheap, and most often enough
		stream, err := l.s.NATS.JetStream().Stream(ctx, fleet.StreamName(bucket))
		if err != nil {
			return at, err
		}
		if n := int(stream.CachedInfo().State.NumSubjects); n < len(keys) {
			return at, fmt.Errorf("%s has %d of %d keys", bucket, n, len(keys))
		}
	}
	if err := l.heard(ctx); err != nil {
		return at, err
	}
	hs := l.s.Health(ctx)
	for _, h := range hs {
		if !h.Ready || h.State != fleet.StateReady || h.Lease == nil || h.Lease.Epoch == 0 {
			return at, fmt.Errorf("%s is %s: %v", h.Instance, h.State, h.Reasons)
		}
	}
	if len(hs) != len(fleet.Services()) {
		return at, fmt.Errorf("%d instances answer", len(hs))
	}
	at = time.Now()
	now, err := l.s.Picture(ctx)
	if err != nil {
		return at, err
	}
	if d := l.difference(now); len(d) > 0 {
		return at, fmt.Errorf("%q", d)
	}
	for _, bucket := range buckets {
		for _, e := range now.Keys[bucket] {
			if e.Stamp.After(at) {
				at = e.Stamp
			}
		}
	}
	return at, nil
}

// difference names what is not as it was: any write to a resource, and any other value of a key. A report
// tells when its workload changed last, so none was torn down and started again while it is the same.
func (l *losing) difference(now lab.Picture) []string {
	out := lab.Changed("", l.before.Resources, now.Resources)
	was, is := wanted(l.before), wanted(now)
	for _, bucket := range slices.Sorted(maps.Keys(was)) {
		out = append(out, lab.Changed(bucket+"/", was[bucket], is[bucket])...)
	}
	return out[:min(len(out), 10)]
}

// wanted are the values in a picture by bucket and key, without what need not come back as it was: when
// something was deleted, and reports of what is not desired any more.
func wanted(p lab.Picture) map[string]map[string]string {
	out := map[string]map[string]string{}
	for bucket, keys := range p.Keys {
		out[bucket] = map[string]string{}
		for key, e := range keys {
			if _, desired := p.Keys[fleet.BucketDesiredState][strings.TrimPrefix(key, "state.")]; bucket == fleet.BucketDeviceState && !desired {
				continue
			}
			if strings.Contains(e.Value, `"tombstone"`) {
				e.Value = "tombstone"
			}
			out[bucket][key] = e.Value
		}
	}
	return out
}

// heard returns an error while the heartbeat of a device is missing.
func (l *losing) heard(ctx context.Context) error {
	stream, err := l.s.NATS.JetStream().Stream(ctx, fleet.StreamName(fleet.BucketDeviceHeartbeat))
	if err != nil {
		return err
	}
	if n := int(stream.CachedInfo().State.NumSubjects); n != l.hearts {
		return fmt.Errorf("%d heartbeats", n)
	}
	return nil
}

// views asserts that every instance has in view what is in the buckets, and nothing more.
func (l *losing) views(what string, p lab.Picture) {
	l.t.Helper()
	for _, h := range l.s.Health(l.t.Context()) {
		for _, s := range h.Sources {
			keys, ok := p.Keys[s.Name]
			if ok && s.Entries != len(keys) {
				l.t.Errorf("%s: %s has %d entries of %s in view, there are %d", what, h.Instance, s.Entries, s.Name, len(keys))
			}
		}
	}
}

// watched is what would tear a workload down, or tells that one was.
type watched struct {
	hashes map[string]string // of reports, by key

	mu  sync.Mutex
	bad []string
}

// watch looks at every change of desired state as devices are told it, and at every report as they publish
// it, whether or not there is a stream to keep it. From then on nothing may be removed.
func watch(t *testing.T, s *lab.Stack, before lab.Picture) *watched {
	t.Helper()
	w := &watched{hashes: map[string]string{}}
	for key, e := range before.Keys[fleet.BucketDeviceState] {
		r, err := fleet.DecodeReport([]byte(e.Value))
		if err != nil {
			t.Fatalf("read the report %s: %v", key, err)
		}
		w.hashes[key] = string(r.Phase) + r.ObservedHash
	}
	reports := fleet.KeySubject(fleet.BucketDeviceState, "")
	for subject, f := range map[string]nats.MsgHandler{
		fleet.LivePrefix + ">": func(m *nats.Msg) {
			key := strings.TrimPrefix(m.Subject, fleet.LivePrefix)
			deleted := m.Header.Get("KV-Operation") != "" || m.Header.Get("Nats-Marker-Reason") != ""
			if _, wanted := before.Keys[fleet.BucketDesiredState][key]; deleted == wanted && !fleet.IsReserved(key) {
				w.add(fmt.Sprintf("%s is wanted: %t, deleted: %t", key, wanted, deleted))
			}
		},
		reports + ">": func(m *nats.Msg) {
			key := strings.TrimPrefix(m.Subject, reports)
			r, err := fleet.DecodeReport(m.Data)
			if len(m.Data) == 0 {
				return // the operator removes it
			}
			if err != nil || w.hashes[key] != string(r.Phase)+r.ObservedHash {
				w.add(fmt.Sprintf("%s reports %s, not what it did before", key, m.Data))
			}
		},
	} {
		sub, err := s.Conn().Subscribe(subject, f)
		if err != nil {
			t.Fatalf("watch %s: %v", subject, err)
		}
		t.Cleanup(func() { _ = sub.Unsubscribe() })
	}
	return w
}

func (w *watched) add(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bad = append(w.bad, what)
}

// take returns at most ten things that happened since it was called last.
func (w *watched) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	bad := w.bad
	w.bad = nil
	return bad[:min(len(bad), 10)]
}
