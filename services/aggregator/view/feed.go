package view

import (
	"errors"
	"log/slog"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/aggregator/projection"
)

// errForeign is why a message of a fenced bucket is set aside.
var errForeign = errors.New("written by somebody else than the service that owns the bucket: it has no " + fleet.HeaderEpoch)

// feed brings one bucket into the view. It is the kv.View of its reflector.
type feed struct {
	view      *View
	bucket    string
	announced bool // agents write it: when it is new, they are asked to write again
	aside     *kv.Aside
	apply     func(*feed, kv.Message)
	loss      loss

	// Guarded by View.mu.
	synced  bool
	emptied time.Time // when a pass found that much of the bucket is gone, zero: none did
}

// Begin implements kv.View.
func (f *feed) Begin(p kv.Pass) {
	f.aside.Reset()
	f.loss.begin(p)
	f.view.begin(f, p)
}

// Apply implements kv.View.
func (f *feed) Apply(m kv.Message) {
	f.loss.count(m, 1)
	f.view.observe(m.Time)
	f.apply(f, m)
}

// Synced implements kv.View.
func (f *feed) Synced(p kv.Pass) {
	if f.loss.great() {
		f.view.empty(f, p)
	}
	f.loss.end()
	f.view.settle(f, true)
}

// Lost implements kv.View.
func (f *feed) Lost(error) { f.view.settle(f, false) }

// illegal sets a message aside whose key is not of the contract, as long as it is there.
func (f *feed) illegal(m kv.Message, err error) {
	f.loss.count(m, -1)
	if m.Op == kv.Put {
		f.aside.Add(m, err, false)
		return
	}
	f.aside.Clear(m.Key)
}

// judge puts the outcome of a good or malformed value into the account. Kept says that an earlier
// value still counts.
func (f *feed) judge(m kv.Message, err error, kept bool) {
	if err != nil {
		f.aside.Add(m, err, kept)
		return
	}
	f.aside.Clear(m.Key)
}

// isForeign reports whether somebody else than the owner of a fenced bucket wrote a message. What the
// server does by itself, when a TTL ends or a message is gone, nobody wrote.
func isForeign(m kv.Message) bool {
	return m.Epoch() == 0 && m.Op != kv.Expired && m.Op != kv.Swept
}

func origin(m kv.Message) projection.Origin {
	return projection.Origin{Revision: m.Revision, At: m.Time}
}

// spoken decodes what a device wrote, and says where it stands. What somebody had the server write under the device's
// key is malformed, and no sign of life; it stands there all the same, and can be removed.
func spoken[T any](m kv.Message, decode func([]byte) (T, error)) (v T, at projection.Origin, err error) {
	at = origin(m)
	if fleet.IsPubAck(m.Value) {
		at.At = time.Time{}
		return v, at, fleet.ErrPubAck
	}
	v, err = decode(m.Value)
	return v, at, err
}

// Buckets are what the view reads. The agents' buckets are created by whoever holds the view.
type Buckets struct {
	Resources, Desired, Infos, States, Heartbeats *kv.Bucket
}

// Source is a reflector and how its bucket is shown in health.
type Source struct {
	Name      string
	Reflector *kv.Reflector
	aside     *kv.Aside
}

// Health returns the source with what was set aside.
func (s Source) Health() fleet.Source {
	out := s.Reflector.Source()
	s.aside.Fill(&out)
	return out
}

// Reflectors returns the reflectors that keep the view in step, to be run by the caller. It is called
// once. Poll is how often their guards look, 0 for the default.
func (v *View) Reflectors(b Buckets, poll time.Duration, log *slog.Logger) []Source {
	add := func(bucket *kv.Bucket, own bool, apply func(*feed, kv.Message)) Source {
		f := &feed{view: v, bucket: bucket.Name(), announced: own, apply: apply, aside: kv.NewAside(bucket.Name(), log)}
		v.feeds = append(v.feeds, f)
		r := kv.NewReflector(kv.ReflectorConfig{Bucket: bucket, Own: own, View: f, Log: log, Poll: poll})
		return Source{Name: bucket.Name(), Reflector: r, aside: f.aside}
	}
	return []Source{
		add(b.Resources, false, (*feed).resource),
		add(b.Desired, false, (*feed).desired),
		add(b.Infos, true, (*feed).info),
		add(b.States, true, (*feed).report),
		add(b.Heartbeats, true, (*feed).heartbeat),
	}
}
