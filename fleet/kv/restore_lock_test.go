package kv

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// A bucket is one of resources with a value, and an archive of it.
func dumped(t *testing.T) (nc *nats.Conn, b *Bucket, archive []byte, meta []byte) {
	t.Helper()
	nc = fleettest.NATS(t).Conn(t)
	b = ensured(t, nc, fleet.BucketResources, prov())
	put(t, b, "device.pi-1", "1")
	archive, d := dump(t, b)
	return nc, b, archive, d.Meta
}

func TestRestore_TwoAtOnce(t *testing.T) {
	_, b, archive, meta := dumped(t)
	first := locked(t, b, meta, false)
	second, err := NewRestore(b, meta, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var busy *LockedError
	if err := second.Lock(t.Context(), false); !errors.As(err, &busy) || !busy.Intact {
		t.Fatalf("the second gets %v", err)
	}
	if err := second.Undo(t.Context()); err != nil || second.Held() {
		t.Fatalf("undo of what was not locked: %v", err)
	}
	if err := first.Close(t.Context(), true); err != nil {
		t.Fatalf("the second has taken the lock of the first: %v", err)
	}
	if err := second.Lock(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Load(t.Context(), opener(archive), func(int) {}); !errors.Is(err, ErrTakenOver) || first.Begun() {
		t.Errorf("the first loads: %v", err)
	}
	if err := first.Open(t.Context()); !errors.Is(err, ErrTakenOver) {
		t.Errorf("the first opens: %v", err)
	}
	if err := first.Undo(t.Context()); !errors.Is(err, ErrTakenOver) {
		t.Errorf("the first gives back: %v", err)
	}
	if err := second.Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Load(t.Context(), opener(archive), func(int) {}); err != nil {
		t.Fatal(err)
	}
	if err := second.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, b); len(got) != 1 {
		t.Errorf("restored %v", got)
	}
}

// What was closed and not loaded is given back by whoever takes over, with all that was written since the backup.
func TestRestore_KilledBetweenCloseAndLoad(t *testing.T) {
	_, b, _, meta := dumped(t)
	put(t, b, "device.pi-2", "2")
	before, err := b.info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := locked(t, b, meta, false).Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second takes over from one that took over and was killed
		again := locked(t, b, meta, true)
		if again.Begun() {
			t.Fatal("its content is taken for lost")
		}
		if err := again.Close(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	if err := locked(t, b, meta, true).Undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := b.info(t.Context())
	if err != nil || !after.Created.Equal(before.Created) || len(contents(t, b)) != 2 {
		t.Errorf("given back: %+v, %v", after, err)
	}
	if err := b.Ensure(t.Context()); err != nil {
		t.Errorf("the owner does not take it: %v", err)
	}
	if _, err := NewRestore(b, meta, time.Now()); err != nil {
		t.Fatal(err)
	}
	locked(t, b, meta, false) // the lock is gone
}

// A bucket that is closed and whose lock is lost says itself what it was.
func TestRestore_TheLockOfAClosedBucketIsLost(t *testing.T) {
	nc, b, archive, meta := dumped(t)
	put(t, b, "device.pi-2", "2")
	if err := locked(t, b, meta, false).Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := removeStream(t.Context(), nc, fleet.RestoreStreamName(b.Name())); err != nil {
		t.Fatal(err)
	}
	r := locked(t, b, meta, false)
	if r.Begun() || !r.Shut() {
		t.Fatalf("begun %t, shut %t", r.Begun(), r.Shut())
	}
	if err := r.Undo(t.Context()); err != nil || len(contents(t, b)) != 2 {
		t.Errorf("given back: %v, %v", contents(t, b), err)
	}

	// One that was being loaded has nothing to give back.
	half := locked(t, b, meta, false)
	if err := half.Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := half.Load(t.Context(), opener(archive), func(int) {}); err != nil {
		t.Fatal(err)
	}
	if err := removeStream(t.Context(), nc, fleet.RestoreStreamName(b.Name())); err != nil {
		t.Fatal(err)
	}
	if r := locked(t, b, meta, false); !r.Begun() {
		t.Error("what is half loaded is taken for what was there")
	}
}

// Who only tries takes its lock away again, and leaves a bucket closed that was.
func TestRestore_ReleaseLeavesTheBucketAsItIs(t *testing.T) {
	nc, b, _, meta := dumped(t)
	if err := locked(t, b, meta, false).Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := removeStream(t.Context(), nc, fleet.RestoreStreamName(b.Name())); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second is not refused
		if err := locked(t, b, meta, false).Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if info, err := b.info(t.Context()); err != nil || !isClosed(info.Config) {
			t.Fatalf("it was opened: %v, %v", info, err)
		}
	}
}

// On three servers the lock is on as many as the bucket.
func TestRestore_TheLockHasTheReplicasOfTheBucket(t *testing.T) {
	for name, s := range servers(t) {
		t.Run(name, func(t *testing.T) {
			nc := s.Conn(t)
			b := ensured(t, nc, fleet.BucketResources, s.prov)
			put(t, b, "device.pi-1", "1")
			_, d := dump(t, b)
			r := locked(t, b, d.Meta, false)
			info, err := Open(nc, b.Name(), s.prov).info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			js, err := nc.JetStream()
			if err != nil {
				t.Fatal(err)
			}
			lock, err := js.StreamInfo(fleet.RestoreStreamName(b.Name()))
			if err != nil || lock.Config.Replicas != info.Config.Replicas {
				t.Errorf("the lock is %+v, want %d replicas, %v", lock, info.Config.Replicas, err)
			}
			if err := r.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// The answer to the last step of a restore is lost: it is open, and not another's.
func TestRestore_TheLockWentUnseen(t *testing.T) {
	nc, b, archive, meta := dumped(t)
	undone := locked(t, b, meta, false)
	undone.leaves = true
	if err := removeStream(t.Context(), nc, fleet.RestoreStreamName(b.Name())); err != nil {
		t.Fatal(err)
	}
	if err := undone.Undo(t.Context()); err != nil {
		t.Errorf("undo: %v", err)
	}
	r := locked(t, b, meta, false)
	if err := r.Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Load(t.Context(), opener(archive), func(int) {}); err != nil {
		t.Fatal(err)
	}
	if err := r.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.opened = false
	if err := r.Open(t.Context()); err != nil {
		t.Errorf("open: %v", err)
	}
}

// What an operator has chosen for a stream stays, and it says how much of it came out of the backup.
func TestRestore_TheStreamStaysWhatItWas(t *testing.T) {
	_, b, archive, meta := dumped(t)
	before, err := b.info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before.Config.Compression = api.S2Compression
	if err := (&Restore{bucket: b}).update(t.Context(), before.Config); err != nil {
		t.Fatal(err)
	}
	v := newRecorder()
	reflect(t, ReflectorConfig{Bucket: b, View: v})
	fleettest.Eventually(t, soon, "synced", func() bool { return v.passes() > 0 })
	if got := v.lastPass().Restored; got != 0 {
		t.Errorf("up to %d it is restored, and it never was", got)
	}
	restored(t, b, archive, meta)
	now, err := b.info(t.Context())
	if err != nil || now.Config.Compression != api.S2Compression {
		t.Errorf("its compression is %v, %v", now.Config.Compression, err)
	}
	fleettest.Eventually(t, soon, "the reader notices", func() bool { return v.lastPass().NewIncarnation })
	if got, want := v.lastPass().Restored, now.State.LastSeq; got != want {
		t.Errorf("up to %d it is restored, want %d", got, want)
	}
}

func TestRestoredTo(t *testing.T) {
	created := time.Now()
	marked := api.StreamConfig{Metadata: map[string]string{fleet.MetadataRestored: "7"}}
	for name, c := range map[string]struct {
		before, now Pass
		cfg         api.StreamConfig
		want        uint64
	}{
		"read for the first time":   {Pass{}, Pass{Created: created, Barrier: 9}, marked, 7},
		"never restored":            {Pass{}, Pass{Created: created, Barrier: 9}, api.StreamConfig{}, 0},
		"restored before our eyes":  {Pass{Created: created.Add(-time.Hour)}, Pass{Created: created, Barrier: 9, NewIncarnation: true}, marked, 7},
		"made anew":                 {Pass{Created: created.Add(-time.Hour), Restored: 5}, Pass{Created: created, Barrier: 9, NewIncarnation: true}, api.StreamConfig{}, 0},
		"set back in place":         {Pass{Created: created}, Pass{Created: created, Barrier: 9, NewIncarnation: true}, api.StreamConfig{}, 9},
		"set back, then read again": {Pass{Created: created, Restored: 9}, Pass{Created: created, Barrier: 12}, api.StreamConfig{}, 9},
		"a mark that is none":       {Pass{}, Pass{Created: created, Barrier: 9}, api.StreamConfig{Metadata: map[string]string{fleet.MetadataRestored: "x"}}, 0},
	} {
		if got := restoredTo(c.before, c.now, c.cfg); got != c.want {
			t.Errorf("%s: up to %d, want %d", name, got, c.want)
		}
	}
}

// A bucket that is gone, and whose lock another restore has made, stays shut whatever a second one does.
func TestRestore_KilledWhileItLoads(t *testing.T) {
	nc, b, archive, meta := dumped(t)
	r := locked(t, b, meta, false)
	if err := r.Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	r.note.Floor = 1 << 60
	if err := r.keepOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := removeStream(t.Context(), nc, fleet.StreamName(b.name)); err != nil {
		t.Fatal(err)
	}
	second, err := NewRestore(b, meta, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var busy *LockedError
	if err := second.Lock(t.Context(), false); !errors.As(err, &busy) || busy.Intact {
		t.Fatalf("the second gets %v", err)
	}
	second = locked(t, b, meta, true)
	if err := second.Undo(t.Context()); err != nil || !second.Begun() {
		t.Fatalf("undo: %v, begun %v", err, second.Begun())
	}
	if err := b.Ensure(t.Context()); err == nil {
		t.Fatal("the owner could create it")
	}
	restored(t, b, archive, meta)
	if info, err := b.info(t.Context()); err != nil || info.State.FirstSeq <= 1<<60 {
		t.Errorf("begins at %+v, below what was used: %v", info, err)
	}
}

// The archive's own sequences are never used again, also when the bucket is missing.
func TestRestore_BeginsAboveTheArchive(t *testing.T) {
	nc, b, _, meta := dumped(t)
	const last = 1 << 60
	var w bytes.Buffer
	a, err := newArchive(&w, api.StreamState{FirstSeq: last, LastSeq: last})
	if err == nil {
		err = a.message(entry{subject: fleet.KeySubject(b.name, "device.pi-1"), sequence: last, payload: []byte("1")})
	}
	if err == nil {
		err = a.end()
	}
	if err == nil {
		err = removeStream(t.Context(), nc, fleet.StreamName(b.name))
	}
	if err != nil {
		t.Fatal(err)
	}
	restored(t, b, w.Bytes(), meta)
	if info, err := b.info(t.Context()); err != nil || info.State.FirstSeq <= last {
		t.Errorf("begins at %+v: %v", info, err)
	}
}

// headers sends a value with headers as they are given, byte for byte.
func sendRaw(t *testing.T, nc *nats.Conn, b *Bucket, key, headers string, value []byte) {
	t.Helper()
	h, body := "NATS/1.0\r\n"+headers+"\r\n", value
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	rawPublish(t, nc.ConnectedUrl(), fmt.Sprintf("HPUB %s %s %d %d\r\n%s%s\r\n", fleet.KeySubject(b.name, key), sub.Subject, len(h), len(h)+len(body), h, body))
	m, err := sub.NextMsg(soon)
	if err != nil || !fleet.IsPubAck(m.Data) {
		t.Fatalf("%s was not stored: %v, %s", key, err, m.Data)
	}
}

// Whatever a device puts into the headers of its messages, the bucket's archive can be restored, and the others' entries
// come back.
func TestRestore_HostileHeaders(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDeviceState, prov())
	put(t, b, "state.pi-1.web", "honest")
	room := largestMessage(b.name) - len("NATS/1.0\r\n\r\n")
	sendRaw(t, nc, b, "state.pi-2.grows", strings.Repeat("a:\r\n", room/4), nil)
	sendRaw(t, nc, b, "state.pi-2.smuggles", "x: y\nNats-TTL: junk\r\n", []byte("v"))
	sendRaw(t, nc, b, "state.pi-2.late", "x: y\nNats-TTL: 99999999999999999999h\r\n", []byte("v"))
	sendRaw(t, nc, b, "state.pi-2.status", "x: y\nKV-Operation: DEL\r\n", []byte("v"))
	smuggled := "x:\nFleet-Epoch:7\nFleet-Cause:deleted\nNats-TTL:never\r\n"
	full := bytes.Repeat([]byte("v"), room-len(smuggled))
	sendRaw(t, nc, b, "state.pi-2.full", smuggled, full) // would grow by a byte for each
	archive, d := dump(t, b)
	if d.LeftOut.Count != 1 || fmt.Sprint(d.LeftOut.Keys) != "[state.pi-2.full]" {
		t.Errorf("left out: %+v", d.LeftOut)
	}
	if a, err := ReadArchive(b.Name(), bytes.NewReader(archive)); err != nil || a.Restored != d.Messages {
		t.Fatalf("%+v, %v", a, err)
	}
	restored(t, b, archive, d.Meta)
	if got := contents(t, b); got["state.pi-1.web"] != "honest" || got["state.pi-2.smuggles"] != "v" {
		t.Errorf("restored %v", got)
	}
}

// An archive that has what a server refuses, as an earlier version wrote it, is restored without that.
func TestRestore_HostileArchive(t *testing.T) {
	_, b, _, meta := dumped(t)
	var w bytes.Buffer
	a, err := newArchive(&w, api.StreamState{FirstSeq: 1, LastSeq: 3})
	for i, e := range []entry{
		{header: []byte("NATS/1.0\r\nNats-TTL: junk\r\n\r\n"), payload: []byte("1")},
		{payload: make([]byte, largestMessage(b.name)+1)},
		{header: []byte("NATS/1.0\r\na: " + strings.Repeat("a", largestMessage(b.name)) + "\r\n\r\n"), payload: []byte("3")},
	} {
		e.sequence, e.stamp, e.subject = uint64(i+1), time.Now().UnixNano(), fleet.KeySubject(b.name, fmt.Sprint("device.pi-", i+1))
		err = errors.Join(err, a.message(e))
	}
	if err = errors.Join(err, a.end()); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadArchive(b.Name(), bytes.NewReader(w.Bytes())); err != nil || got.Restored != 2 || got.LeftOut.Count != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	restored(t, b, w.Bytes(), meta)
	if got := contents(t, b); len(got) != 2 || got["device.pi-1"] != "1" || got["device.pi-3"] != "3" {
		t.Errorf("restored %v", got)
	}
}

// A file that breaks is not its end, whatever error it breaks with.
func TestRestore_AFileThatBreaksIsNoEnd(t *testing.T) {
	_, b, archive, meta := dumped(t)
	for _, broken := range []error{io.ErrUnexpectedEOF, fmt.Errorf("read: %w", io.EOF), fmt.Errorf("read: %w", io.ErrUnexpectedEOF)} {
		r := locked(t, b, meta, true)
		if err := r.Close(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		began := r.note.Began
		if _, err := r.Load(t.Context(), failing(archive, broken), func(int) {}); err == nil || strings.Contains(err.Error(), "server") {
			t.Errorf("%v (since %s): %v", broken, began, err)
		}
	}
	restored(t, b, archive, meta) // what the server has half of does not outlive it
}

func TestPassing(t *testing.T) {
	for code, want := range map[uint16]bool{codeNoPeers: true, codeClusterAway: true, codeStoreFailed: true, codeNameInUse: true, codeRestoreInUse: true, codeRestoreFailed: false, 10074: false, 10052: false} {
		if err := (api.ApiError{Code: 400, ErrCode: code, Description: "no"}); passing(err) != want {
			t.Errorf("%d passes: %v", code, !want)
		}
	}
	if passing(errors.New("x")) || !passing(api.ApiError{ErrCode: codeRestoreFailed, Description: "restore failed: error adding stream: x"}) {
		t.Error("by the words")
	}
}

// rawPublish speaks to the server without a client, which would not send such headers.
func rawPublish(t *testing.T, url, line string) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, `CONNECT {"verbose":false,"headers":true,"no_responders":true}`+"\r\n"+line+"PING\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(soon))
	for s := bufio.NewScanner(c); s.Scan(); {
		if strings.HasPrefix(s.Text(), "PONG") {
			return
		}
	}
	t.Fatal("the server does not answer")
}
