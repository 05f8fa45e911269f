package kv

import (
	"context"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

var stored = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestEndOf(t *testing.T) {
	cases := map[string]struct {
		ttls  []string // nil: no header
		after time.Duration
		has   bool
	}{
		"none":                         {},
		"seconds":                      {[]string{"60"}, time.Minute, true},
		"a duration":                   {[]string{"1m0s"}, time.Minute, true},
		"parts of a second":            {[]string{"1.9s"}, time.Second, true},
		"never":                        {ttls: []string{"never"}},
		"never, loudly":                {ttls: []string{"NEVER"}},
		"what the server refuses":      {ttls: []string{"0.5s"}},
		"nothing":                      {ttls: []string{""}},
		"zero":                         {ttls: []string{"0"}},
		"a word":                       {ttls: []string{"soon"}},
		"a duration beyond the clock":  {[]string{"2562047h"}, 0, true},
		"seconds beyond the clock":     {[]string{"9223372036854775807"}, 0, true},
		"seconds that come round":      {[]string{"18446744073709551617"}, time.Second, true},
		"seconds that come round to 0": {ttls: []string{"18446744073709551616"}},
	}
	for name, c := range cases {
		m := Message{Key: "k", Time: stored}
		if c.ttls != nil {
			m.Header = nats.Header{headerTTL: c.ttls}
		}
		e, ok := endOf(&m)
		if ok != c.has || ok && !e.at.Equal(stored.Add(c.after)) {
			t.Errorf("%s: %+v, %v", name, e, ok)
		}
	}
	for _, ttls := range [][]string{{}, {"3600s", "1s"}} {
		if e, ok := endOf(&Message{Time: stored, Header: nats.Header{headerTTL: ttls}}); !ok || !e.at.IsZero() {
			t.Errorf("%v: %+v, %v", ttls, e, ok)
		}
	}
}

func TestEnd_IsMuteWhenNoMarkerFollows(t *testing.T) {
	for header, mute := range map[string]bool{
		"": false, headerOperation + "=" + operationDelete: false,
		headerOperation + "=" + operationPurge: true, headerMarker + "=MaxAge": true, headerMarker + "=Remove": true,
	} {
		m := Message{Time: stored, Header: nats.Header{headerTTL: {"60s"}}}
		if k, v, ok := strings.Cut(header, "="); ok {
			m.Header.Set(k, v)
		}
		e, ok := endOf(&m)
		if !ok || e.mute != mute || e.silent(look{}) != true || e.silent(look{marks: true}) != mute {
			t.Errorf("%q: %+v, %v", header, e, ok)
		}
	}
}

func TestLook_CaughtUp(t *testing.T) {
	at, stamp := stored.Add(time.Minute), stored
	for name, c := range map[string]struct {
		l    look
		want time.Time
	}{
		"at rest":          {look{applied: 7, existing: 7, at: at, stamp: stamp}, at},
		"at rest, marks":   {look{applied: 7, existing: 7, at: at, stamp: stamp, marks: true}, at},
		"under way":        {look{applied: 7, existing: 8, at: at, stamp: stamp}, stamp},
		"under way, marks": {look{applied: 7, existing: 8, at: at, stamp: stamp, marks: true}, time.Time{}},
	} {
		if got := c.l.caughtUp(); !got.Equal(c.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// The index counts and forgets exactly what a stream may have dropped and has dropped, whatever was
// written with and without a TTL.
func TestIndex_EndsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type subject struct {
			value bool
			rev   uint64
			end   time.Time // zero: none
		}
		x, model, now := newIndex(), map[string]subject{}, stored
		x.begin(Pass{Number: 1})
		x.sweep()
		var rev uint64
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 1500).Draw(t, "ms")) * time.Millisecond)
			if rapid.IntRange(0, 3).Draw(t, "step") > 0 {
				rev++
				s := subject{value: rapid.Bool().Draw(t, "value"), rev: rev}
				m := Message{Key: rapid.SampledFrom([]string{"a", "b", "c", fleet.KeyLease}).Draw(t, "key"), Revision: rev, Time: now}
				if !s.value {
					m.Op = Delete
				}
				if ttl := rapid.IntRange(0, 4).Draw(t, "ttl"); ttl > 0 {
					m.Header = nats.Header{headerTTL: {fmt.Sprintf("%ds", ttl)}}
					s.end = now.Add(time.Duration(ttl) * time.Second)
				}
				x.apply(&m)
				model[m.Key] = s
				continue
			}
			l := look{at: now, applied: rev, existing: rev, last: rev}
			least, over := 0, map[string]subject{}
			for key, s := range model {
				if s.end.IsZero() || now.Before(s.end.Add(-expirySlack)) {
					least++
				}
				if s.end.IsZero() || now.Before(s.end.Add(expirySlack)) {
					l.subjects++
					continue
				}
				delete(model, key)
				over[key] = s
			}
			if got := x.least(l); got != least {
				t.Fatalf("at least %d subjects, want %d", got, least)
			}
			late := l
			if late.subjects++; len(over) > 0 && len(x.ended(late)) > 0 {
				t.Fatal("forgotten although the stream has a subject more")
			}
			for _, m := range x.ended(l) {
				if s := over[m.Key]; s.rev != m.Revision || m.Op != Swept || m.Marker == s.value || !m.Time.IsZero() {
					t.Fatalf("forgotten %+v, want %v", m, over)
				}
				delete(over, m.Key)
			}
			if len(over) > 0 || len(x.subjects) != len(model) || len(x.ends) > len(model) || x.values > len(model) {
				t.Fatalf("%v not forgotten, %d subjects and %d ends of %v", over, len(x.subjects), len(x.ends), model)
			}
		}
	})
}

// What was stored or brought after the look says nothing about it.
func TestIndex_EndedKnowsNothingOfWhatTheViewHadNotApplied(t *testing.T) {
	x := newIndex()
	x.begin(Pass{Number: 1})
	x.apply(&Message{Key: "a", Revision: 8, Time: stored, Header: nats.Header{headerTTL: {"1s"}}})
	l := look{at: stored.Add(time.Hour), stamp: stored.Add(time.Hour), applied: 7, existing: 9}
	if got := x.ended(l); len(got) != 0 {
		t.Errorf("forgotten %+v", got)
	}
	l.applied = 8
	if got := x.ended(l); len(got) != 1 {
		t.Errorf("forgotten %+v", got)
	}
}

// marked writes the marker that a server leaves for an expired value.
func marked(t testing.TB, b *Bucket, key, ttl string) {
	t.Helper()
	h := nats.Header{headerMarker: {"MaxAge"}, headerTTL: {ttl}}
	if _, err := b.Put(t.Context(), key, nil, h); err != nil {
		t.Fatal(err)
	}
}

// withTTL writes a value that ends.
func withTTL(t testing.TB, b *Bucket, key, ttl string) {
	t.Helper()
	if _, err := b.Put(t.Context(), key, []byte("v"), nats.Header{headerTTL: {ttl}}); err != nil {
		t.Fatal(err)
	}
}

// putRaw writes a value with headers that the client library would not send.
func putRaw(t testing.TB, url string, b *Bucket, key, headers string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	headers = "NATS/1.0\r\n" + headers + "\r\n"
	fmt.Fprintf(conn, "CONNECT {\"headers\":true}\r\nHPUB %s %d %d\r\n%sv\r\nPING\r\n", fleet.KeySubject(b.name, key), len(headers), len(headers)+1, headers)
	for answer := ""; !strings.HasSuffix(answer, "PONG\r\n"); {
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("after %q: %v", answer, err)
		}
		answer += string(buf[:n])
	}
}

// Agent-written buckets have no markers: a device may make a value of its own vanish without a word, in
// any number and in more ways than one. That is no reason to read the bucket again.
func TestReflector_ValuesThatEndAreNoViolation(t *testing.T) {
	srv := fleettest.NATS(t)
	b := ensured(t, srv.Conn(t), fleet.BucketDeviceState, prov())
	fill(t, b, "state.pi-", 10)
	v := newRecorder()
	r := reflect(t, ReflectorConfig{Bucket: b, View: v, Poll: 100 * time.Millisecond})
	fleettest.Eventually(t, soon, "synced", r.Synced)
	withTTL(t, b, "state.pi-0", "1s")
	put(t, b, "state.pi-0", "stays")
	withTTL(t, b, "state.pi-1", "1s")
	withTTL(t, b, "state.evil.long", "3600s")
	withTTL(t, b, "state.evil.beyond", fmt.Sprint(math.MaxInt64))
	putRaw(t, srv.URL(), b, "state.evil.unreadable", "Nats-TTL: 1s\r\nnonsense\r\n")
	putRaw(t, srv.URL(), b, "state.evil.ambiguous", "X: y\nNats-TTL: 3600s\r\nNats-TTL: 1s\r\n")
	for i := range 30 {
		withTTL(t, b, fmt.Sprintf("state.evil.%d", i), "1s")
		rest(t.Context(), 100*time.Millisecond)
	}
	fleettest.Eventually(t, soon, "what ended is gone from the view", func() bool { return v.count(Swept) == 32 })
	if v.passes() != 1 {
		t.Errorf("%d passes", v.passes())
	}
	if got := v.snapshot(); len(got) != 12 || got["state.pi-0"] != "stays" {
		t.Errorf("in view: %v", got)
	}
	deleteConsumers(t, b)
	fleettest.Eventually(t, soon, "the next pass sweeps what nobody could tell the end of", func() bool {
		return v.passes() == 2 && equal(t, v, b)
	})
}

// A stream that is written all the time is never seen at rest.
func TestReflector_ValuesEndUnderWrites(t *testing.T) {
	srv := fleettest.NATS(t)
	b := ensured(t, srv.Conn(t), fleet.BucketDeviceHeartbeat, prov())
	v := newRecorder()
	r := reflect(t, ReflectorConfig{Bucket: b, View: v, Poll: 100 * time.Millisecond})
	fleettest.Eventually(t, soon, "synced", r.Synced)
	background(t, func(ctx context.Context) {
		js, err := srv.Conn(t).JetStream(nats.PublishAsyncMaxPending(256))
		if err != nil {
			t.Error(err)
			return
		}
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = js.PublishAsync(fleet.KeySubject(b.name, fmt.Sprintf("heartbeat.pi-%d", i%500)), nil, nats.StallWait(time.Second))
		}
	})
	for i := range 20 {
		withTTL(t, b, fmt.Sprintf("heartbeat.evil-%d", i), "1s")
	}
	fleettest.Eventually(t, soon, "what ended is gone from the view", func() bool { return v.count(Swept) == 20 })
	if v.passes() != 1 {
		t.Errorf("%d passes", v.passes())
	}
}

// Where the server leaves a marker, it alone tells of the end.
func TestReflector_AMarkerTellsOnceOfAnEnd(t *testing.T) {
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			b := ensured(t, conn.Conn(t), fleet.BucketResources, conn.prov)
			v := newRecorder()
			r := reflect(t, ReflectorConfig{Bucket: b, View: v, Poll: 100 * time.Millisecond})
			fleettest.Eventually(t, soon, "synced", r.Synced)
			_, stop := leads(t, b, "pi", 5*time.Second)
			withTTL(t, b, "device.pi-01", "1s")
			fleettest.Eventually(t, soon, "the marker is in view", func() bool { return v.count(Expired) == 1 })
			rest(t.Context(), 2*expirySlack)
			if _, held := v.get(fleet.KeyLease); v.count(Swept) != 0 || v.count(Expired) != 1 || v.passes() != 1 || !held {
				t.Errorf("%d swept, %d expired, %d passes, leased %v", v.count(Swept), v.count(Expired), v.passes(), held)
			}
			stop()
		})
	}
}

// A marker says that there is something under a key. Whoever has drawn a conclusion from it is told when
// that is over.
func TestReflector_MarkersThatEndAreSwept(t *testing.T) {
	b := ensured(t, fleettest.NATS(t).Conn(t), fleet.BucketResources, prov())
	marked(t, b, "device.gone", "1s")
	marked(t, b, "device.back", "1s")
	marked(t, b, "device.kept", "3600s")
	v := newRecorder()
	r := reflect(t, ReflectorConfig{Bucket: b, View: v, Poll: 100 * time.Millisecond})
	fleettest.Eventually(t, soon, "synced", r.Synced)
	put(t, b, "device.back", "v")
	fleettest.Eventually(t, soon, "the marker that ended is swept", func() bool { return v.lastOp("device.gone") == Swept })
	rest(t.Context(), expirySlack)
	if v.count(Swept) != 1 || v.lastOp("device.back") != Put || v.lastOp("device.kept") != Expired || v.passes() != 1 {
		t.Errorf("%d swept, %v, %d passes", v.count(Swept), v.last, v.passes())
	}
	purge(t, b, "device.kept")
	fleettest.Eventually(t, soon, "the next pass sweeps a marker that it has not brought", func() bool {
		return v.passes() == 2 && v.lastOp("device.kept") == Swept
	})
}

// The server's own marker follows a value and ends as well.
func TestReflector_AnEndIsToldFirstByAMarkerAndThenByItsEnd(t *testing.T) {
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			nc := conn.Conn(t)
			b := Open(nc, fleet.BucketResources, conn.prov)
			cfg := streamConfig(b.name, b.prov, firstSequence(time.Now()))
			cfg.SubjectDeleteMarkerTTL = time.Second
			createStream(t, nc, cfg)
			v := newRecorder()
			r := reflect(t, ReflectorConfig{Bucket: b, View: v, Poll: 100 * time.Millisecond})
			fleettest.Eventually(t, soon, "synced", r.Synced)
			withTTL(t, b, "device.pi-01", "1s")
			fleettest.Eventually(t, soon, "the marker is swept", func() bool { return v.lastOp("device.pi-01") == Swept })
			if v.count(Expired) != 1 || v.count(Swept) != 1 || v.passes() != 1 {
				t.Errorf("%d expired, %d swept, %d passes", v.count(Expired), v.count(Swept), v.passes())
			}
		})
	}
}
