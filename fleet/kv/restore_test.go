package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// dump returns the archive and the Meta of a bucket.
func dump(t testing.TB, b *Bucket) ([]byte, Dump) {
	t.Helper()
	var w bytes.Buffer
	d, err := b.Dump(t.Context(), &w, func(uint64) {})
	if err != nil {
		t.Fatalf("dump: %v", err)
	}
	return w.Bytes(), d
}

func opener(archive []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }
}

func restored(t testing.TB, b *Bucket, archive []byte, meta []byte) {
	t.Helper()
	r, err := NewRestore(b, meta, time.Now())
	if err == nil {
		err = r.Lock(t.Context(), true)
	}
	if err == nil {
		err = r.Close(t.Context(), true)
	}
	if err == nil {
		_, err = r.Load(t.Context(), opener(archive), func(int) {})
	}
	if err == nil {
		err = r.Open(t.Context())
	}
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
}

// messages are the last messages of a bucket by key, as a scan brings them.
func messages(t testing.TB, b *Bucket) map[string]Message {
	t.Helper()
	all := map[string]Message{}
	fleettest.Eventually(t, soon, "the bucket can be read", func() bool {
		clear(all)
		return b.Scan(t.Context(), func(m Message) { all[m.Key] = m }) == nil
	})
	return all
}

func TestRestore_ContentAndStampsComeBackAndTokensDoNot(t *testing.T) {
	for name, s := range servers(t) {
		t.Run(name, func(t *testing.T) {
			nc := s.Conn(t)
			b := ensured(t, nc, fleet.BucketDesiredState, s.prov)
			term, stop := leads(t, b, "a", 5*time.Second)
			old := newEpoch(t, term)
			if err := write(t, term,
				Write{Key: "pi-1.web", Value: []byte(`{"v":1}`)}, Write{Key: "pi-2.web", Value: []byte(`{"v":2}`)},
				Write{Key: fleet.KeyHold, Value: []byte(`{"id":"h","approved":true}`)}, Write{Key: "_applied.web", Value: []byte(`{}`)},
			); err != nil {
				t.Fatal(err)
			}
			if err := write(t, term, Write{Key: "pi-2.web", Delete: true}); err != nil {
				t.Fatal(err)
			}
			put(t, b, "bad!key", "x")
			before := messages(t, b)
			archive, d := dump(t, b)
			if a, err := ReadArchive(b.Name(), bytes.NewReader(archive)); err != nil || a.Messages < 6 || a.Restored != 4 {
				t.Errorf("the archive has %+v, %v", a, err)
			}
			v := newRecorder()
			reflect(t, ReflectorConfig{Bucket: b, View: v})
			fleettest.Eventually(t, soon, "synced", func() bool { return v.passes() > 0 })
			if err := write(t, term, Write{Key: "pi-1.web", Value: []byte(`{"v":9}`)}, Write{Key: "late.web", Value: []byte(`{}`)}); err != nil {
				t.Fatal(err)
			}
			last, err := b.info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			live, err := nc.SubscribeSync(fleet.LivePrefix + ">")
			if err != nil {
				t.Fatal(err)
			}
			passes := v.passes()
			restored(t, b, archive, d.Meta)

			after := messages(t, b)
			for _, key := range []string{fleet.KeyLease, fleet.KeyEpoch, fleet.KeySynced, fleet.KeyHold} {
				delete(before, key)
			}
			for key, want := range before {
				got, ok := after[key]
				if !ok || string(got.Value) != string(want.Value) || !got.Time.Equal(want.Time) || got.Op != want.Op || !bytes.Equal(headerBytes(got.Header), headerBytes(want.Header)) || len(got.Header) < 1 && want.Epoch() > 0 {
					t.Errorf("%s was %+v, is %+v", key, want, got)
				}
				if got.Revision <= last.State.LastSeq {
					t.Errorf("%s is at %d, before the restore the stream was at %d", key, got.Revision, last.State.LastSeq)
				}
			}
			if len(after) > len(before)+2 { // the elector may have its lease again
				t.Errorf("there is more than there was: %v", maps.Collect(maps.All(after)))
			}
			if err := b.Ensure(t.Context()); err != nil {
				t.Errorf("the owner does not take it: %v", err)
			}
			if m, err := live.NextMsg(300 * time.Millisecond); err == nil && !fleet.IsReserved(strings.TrimPrefix(m.Subject, fleet.LivePrefix)) {
				t.Errorf("devices were told of %s", m.Subject)
			}
			for _, epoch := range []uint64{old, last.State.LastSeq} {
				if err := lateWrite(t, nc, b, epoch); err == nil {
					t.Errorf("a write under token %d landed", epoch)
				}
			}
			fleettest.Eventually(t, soon, "the reader has another incarnation in view", func() bool {
				return v.newIncarnationSince(passes) && equal(t, v, b)
			})
			stop()
			next, _ := leads(t, b, "b", 5*time.Second)
			if epoch := newEpoch(t, next); epoch <= last.State.LastSeq {
				t.Errorf("token %d is not above %d", epoch, last.State.LastSeq)
			}
		})
	}
}

// lateWrite sends what a holder of that token wrote before.
func lateWrite(t testing.TB, nc *nats.Conn, b *Bucket, epoch uint64) error {
	m := fencedMessages(b.name, epoch, []Write{{Key: "pi-1.web", Value: []byte("late")}})[0]
	_, err := publish(t.Context(), nc, m)
	return err
}

func TestRestore_NobodyGetsInMeanwhile(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketResources, prov())
	put(t, b, "device.pi-1", "1")
	archive, d := dump(t, b)
	put(t, b, "device.pi-2", "2")
	r := locked(t, b, d.Meta, false)
	if err := r.Close(t.Context(), false); !errors.Is(err, ErrBucketExists) {
		t.Fatalf("closed without replace: %v", err)
	}
	if got := contents(t, b); len(got) != 2 {
		t.Fatalf("a refusal changed something: %v", got)
	}
	shut := func(when string) {
		t.Helper()
		if err := b.Ensure(t.Context()); err == nil {
			t.Errorf("%s the owner takes the bucket", when)
		}
		if err := b.Check(t.Context()); err == nil {
			t.Errorf("%s a reader takes the bucket", when)
		}
		if _, err := b.Put(t.Context(), "device.pi-3", []byte("3"), nil); !errors.Is(err, ErrBucketMissing) {
			t.Errorf("%s a write returned %v", when, err)
		}
	}
	if err := r.Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	shut("closed")
	if err := r.Undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Ensure(t.Context()); err != nil || len(contents(t, b)) != 2 {
		t.Errorf("undone: %v, %v", err, contents(t, b))
	}

	r = locked(t, b, d.Meta, false)
	if err := r.Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := removeStream(t.Context(), nc, fleet.StreamName(b.name)); err != nil {
		t.Fatal(err)
	}
	shut("deleted")
	// Somebody else goes on, after whatever happened.
	again := locked(t, b, d.Meta, true)
	if err := again.Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the link broke")
	if _, err := again.Load(t.Context(), failing(archive, broken), func(int) {}); !errors.Is(err, broken) {
		t.Fatalf("load returned %v", err)
	}
	shut("half loaded")
	if err := again.Undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	shut("not undone, since what was before is gone:")
	restored(t, b, archive, d.Meta)
	if got := contents(t, b); len(got) != 1 || got["device.pi-1"] != "1" {
		t.Errorf("restored %v", got)
	}
	if _, err := b.Put(t.Context(), "device.pi-3", []byte("3"), nil); err != nil {
		t.Errorf("a write after all: %v", err)
	}
}

// locked returns a restore that has its lock.
func locked(t testing.TB, b *Bucket, meta []byte, takeOver bool) *Restore {
	t.Helper()
	r, err := NewRestore(b, meta, time.Now())
	if err == nil {
		err = r.Lock(t.Context(), takeOver)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// failing opens an archive that is whole once, and then breaks half way.
func failing(archive []byte, err error) func() (io.ReadCloser, error) {
	opened := 0
	return func() (io.ReadCloser, error) {
		if opened++; opened == 1 {
			return io.NopCloser(bytes.NewReader(archive)), nil
		}
		return io.NopCloser(io.MultiReader(bytes.NewReader(archive[:len(archive)/2]), errorReader{err})), nil
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// A missing bucket's owner is quick. It must lose the race or win it, not both.
func TestRestore_RaceWithTheOwner(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketResources, prov())
	fill(t, b, "device.pi-", 200)
	archive, d := dump(t, b)
	background(t, func(ctx context.Context) {
		for ctx.Err() == nil {
			_ = b.Ensure(ctx)
		}
	})
	for range 10 {
		restored(t, b, archive, d.Meta)
		if n := len(contents(t, b)); n != 200 {
			t.Fatalf("%d keys", n)
		}
	}
}

func TestDump_HasEveryKeyWhileAllAreWritten(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDeviceState, prov())
	const keys = 2000
	fill(t, b, "state.web.pi-", keys)
	for w := range 4 { // writers of their own keys
		background(t, func(ctx context.Context) {
			for i := w; ctx.Err() == nil; i += 4 {
				_, _ = b.Put(ctx, fmt.Sprintf("state.web.pi-%d", i%keys), []byte("again"), nil)
			}
		})
	}
	for range 5 {
		archive, d := dump(t, b)
		a, err := ReadArchive(b.Name(), bytes.NewReader(archive))
		if err != nil || a.Restored != keys || d.Messages < keys {
			t.Errorf("%d of %d keys, %d messages: %v", a.Restored, keys, d.Messages, err)
		}
	}
}

func TestReadArchive_RefusesWhatIsDamaged(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDeviceInfo, prov())
	fill(t, b, "info.pi-", 300)
	archive, d := dump(t, b)
	var endless bytes.Buffer
	a, err := newArchive(&endless, api.StreamState{})
	if err == nil {
		err = a.message(entry{subject: fleet.KeySubject(b.Name(), "info.pi-1"), sequence: 1})
	}
	if err != nil {
		t.Fatal(err)
	}
	a.abandon()
	for name, bad := range map[string][]byte{
		"without its end": endless.Bytes(), "empty": {}, "text": []byte("hello"), "cut": archive[:len(archive)*2/3], "cut by one": archive[:len(archive)-1],
		"flipped": func() []byte { c := bytes.Clone(archive); c[len(c)/2] ^= 1; return c }(),
	} {
		if _, err := ReadArchive(b.Name(), bytes.NewReader(bad)); !errors.Is(err, ErrBadArchive) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadArchive(fleet.BucketDeviceState, bytes.NewReader(archive)); !errors.Is(err, ErrBadArchive) {
		t.Errorf("of another bucket: %v", err)
	}
	if name, obstacles, err := ReadMeta(b.Name(), d.Meta); name != "fleet" || len(obstacles) > 0 || err != nil {
		t.Errorf("meta: %q, %v, %v", name, obstacles, err)
	}
	if _, _, err := ReadMeta(fleet.BucketDeviceState, d.Meta); !errors.Is(err, ErrBadArchive) {
		t.Errorf("meta of another bucket: %v", err)
	}
}
