package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/fleettest/proxy"
)

// longTTL is a lease that does not end within a test.
const longTTL = 30 * time.Second

func TestWrite_CommitsInOrderUnderTheEpoch(t *testing.T) {
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			nc := conn.Conn(t)
			b := ensured(t, nc, fleet.BucketDesiredState, conn.prov)
			v := newRecorder()
			r := reflect(t, ReflectorConfig{Bucket: b, View: v})
			term, _ := leads(t, b, "a", longTTL)
			epoch := newEpoch(t, term)
			last, err := term.Write(t.Context(), puts("pi-", 2500))
			if err != nil {
				t.Fatalf("write: %v", err)
			}
			if err := r.WaitSeq(t.Context(), last); err != nil {
				t.Fatal(err)
			}
			if rev, _ := b.Revision(t.Context(), "pi-2499.web"); rev != last {
				t.Errorf("last is %d, the last key is at %d", last, rev)
			}
			if got := len(v.snapshot()); got != 2502 { // with lease and epoch
				t.Errorf("%d keys in view", got)
			}
			m, err := b.last(t.Context(), "pi-17.web")
			if err != nil {
				t.Fatal(err)
			}
			h, _ := nats.DecodeHeadersMsg(m.Header)
			if got := (Message{Header: h}).Epoch(); got != epoch || h.Get(fleet.HeaderCause) != "x" {
				t.Errorf("headers %v, epoch %d", h, epoch)
			}
			if last, err := term.Write(t.Context(), nil); last != 0 || err != nil {
				t.Errorf("nothing written: %d, %v", last, err)
			}
		})
	}
}

func puts(prefix string, n int) []Write {
	ops := make([]Write, n)
	for i := range ops {
		ops[i] = Write{Key: fmt.Sprintf("%s%d.web", prefix, i), Value: []byte("v"), Header: map[string]string{fleet.HeaderCause: "x"}}
	}
	return ops
}

func TestWrite_DeleteStaysCountableAndThenGoes(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDesiredState, prov())
	term, _ := leads(t, b, "a", longTTL)
	newEpoch(t, term)
	put(t, b, "pi-01.web", "v")
	if _, err := term.Write(t.Context(), []Write{{Key: "pi-01.web", Delete: true, Header: map[string]string{fleet.HeaderCause: string(fleet.CauseVanished)}}}); err != nil {
		t.Fatal(err)
	}
	m, err := b.last(t.Context(), "pi-01.web")
	if err != nil {
		t.Fatal(err)
	}
	h, _ := nats.DecodeHeadersMsg(m.Header)
	if operation(h) != Delete || h.Get(fleet.HeaderCause) != string(fleet.CauseVanished) || h.Get(headerTTL) != "3600s" {
		t.Errorf("marker %v", h)
	}
}

func TestWrite_DeposedHolderIsRefused(t *testing.T) {
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			nc := conn.Conn(t)
			b := ensured(t, nc, fleet.BucketDesiredState, conn.prov)
			attempts := map[string]func(*Term) error{
				"put":    func(o *Term) error { return write(t, o, Write{Key: "pi-01.web", Value: []byte("late")}) },
				"delete": func(o *Term) error { return write(t, o, Write{Key: "pi-01.web", Delete: true}) },
				"batch": func(o *Term) error {
					return write(t, o, Write{Key: "pi-02.web", Value: []byte("late")}, Write{Key: "pi-01.web", Delete: true})
				},
				"conditional put": func(o *Term) error {
					rev, _ := b.Revision(t.Context(), "pi-01.web")
					return write(t, o, Write{Key: "pi-01.web", Value: []byte("late"), Expect: &rev})
				},
				"staged batch": func(o *Term) error { return commitStaged(t, o) },
			}
			for what, attempt := range attempts {
				t.Run(what, func(t *testing.T) {
					old := takeover(t, b)
					before := contents(t, b)
					if what == "staged batch" {
						stage(t, old.old)
					}
					newEpoch(t, old.new)
					if err := write(t, old.new, Write{Key: "pi-01.web", Value: []byte("new")}); err != nil {
						t.Fatalf("the new holder cannot write: %v", err)
					}
					if err := attempt(old.old); !errors.Is(err, ErrDeposed) && !refused(err) {
						t.Errorf("the old holder wrote: %v", err)
					}
					after := contents(t, b)
					if after["pi-01.web"] != "new" || after["pi-02.web"] != before["pi-02.web"] {
						t.Errorf("the bucket has %v", after)
					}
					if n := old.old.refusals.deposed.Load(); (n == 1) != (what != "staged batch") { // that one goes past the term
						t.Errorf("%d refusals are counted", n)
					}
					if what != "staged batch" && old.old.Held() {
						t.Error("the old holder goes on")
					}
				})
			}
		})
	}
}

// holders are two terms that both believe to hold the lease.
type holders struct{ old, new *Term }

// takeover makes two holders, as a paused process does: the lease of the old one is gone and it does
// not know.
func takeover(t *testing.T, b *Bucket) holders {
	t.Helper()
	purge(t, b, fleet.KeyLease)
	first := seize(t, b, "old")
	newEpoch(t, first)
	if err := write(t, first, Write{Key: "pi-01.web", Value: []byte("old")}); err != nil {
		t.Fatal(err)
	}
	purge(t, b, fleet.KeyLease)
	return holders{first, seize(t, b, "new")}
}

// seize takes the lease once, without renewing it.
func seize(t *testing.T, b *Bucket, instance string) *Term {
	t.Helper()
	e := NewElector(ElectorConfig{Bucket: b, Own: true, Instance: instance, TTL: longTTL, Log: testLog(t)})
	term, _, err := e.campaign(t.Context())
	if err != nil || term == nil {
		t.Fatalf("seize the lease: %v, %v", term, err)
	}
	t.Cleanup(func() { term.end(nil) })
	return term
}

func write(t *testing.T, term *Term, ops ...Write) error {
	t.Helper()
	_, err := term.Write(t.Context(), ops)
	return err
}

// stagedMessages is a batch that is sent but for its commit.
func stagedMessages(term *Term) []*nats.Msg {
	ops := []Write{{Key: "pi-02.web", Value: []byte("late")}, {Key: "pi-01.web", Value: []byte("late")}}
	msgs := fencedMessages(term.cfg.Bucket.name, term.Epoch(), ops)
	number("staged-"+term.holder, msgs)
	return msgs
}

func stage(t *testing.T, term *Term) {
	t.Helper()
	m := stagedMessages(term)[0]
	if _, err := term.cfg.Bucket.nc.RequestMsg(m, soon); err != nil { // the server confirms that it is staged
		t.Fatalf("stage: %v", err)
	}
}

func commitStaged(t *testing.T, term *Term) error {
	t.Helper()
	_, err := publish(t.Context(), term.cfg.Bucket.nc, stagedMessages(term)[1])
	return err
}

func TestWrite_OwnLateBatchIsRefusedAfterNewEpoch(t *testing.T) {
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			nc := conn.Conn(t)
			b := ensured(t, nc, fleet.BucketDesiredState, conn.prov)
			term, _ := leads(t, b, "a", longTTL)
			newEpoch(t, term)
			stage(t, term)
			late := stagedMessages(term)[1]
			newEpoch(t, term)
			if _, err := publish(t.Context(), nc, late); !refused(err) {
				t.Errorf("the late commit: %v", err)
			}
			if len(contents(t, b)) != 2 { // lease and epoch
				t.Errorf("the bucket has %v", contents(t, b))
			}
		})
	}
}

func TestWrite_UnknownOutcomeDemandsANewEpoch(t *testing.T) {
	srv := fleettest.NATS(t)
	direct := srv.Conn(t)
	ensured(t, direct, fleet.BucketDesiredState, prov())
	p := proxy.New(t, srv.URL())
	b := Open((&remote{p.URL()}).Conn(t), fleet.BucketDesiredState, prov())
	term, _ := leads(t, b, "a", longTTL)
	newEpoch(t, term)
	p.Swallow(true)
	if err := write(t, term, Write{Key: "pi-01.web", Value: []byte("lost")}); !errors.Is(err, ErrUnknownOutcome) {
		t.Fatalf("write into a black hole: %v", err)
	}
	p.Swallow(false)
	p.Cut()
	fleettest.Eventually(t, soon, "connected again", b.nc.IsConnected)
	if err := write(t, term, Write{Key: "pi-01.web", Value: []byte("eager")}); !errors.Is(err, ErrUnknownOutcome) {
		t.Fatalf("write without a new epoch: %v", err)
	}
	if rev, err := b.Revision(t.Context(), "pi-01.web"); err != nil || rev != 0 {
		t.Fatalf("revision %d, %v", rev, err)
	}
	before := term.Epoch()
	if after := newEpoch(t, term); after <= before {
		t.Fatalf("epoch %d after %d", after, before)
	}
	if err := write(t, term, Write{Key: "pi-01.web", Value: []byte("v")}); err != nil {
		t.Fatalf("write after the new epoch: %v", err)
	}
}

func TestWrite_Expect(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDesiredState, prov())
	term, _ := leads(t, b, "a", longTTL)
	newEpoch(t, term)
	none, wrong := uint64(0), uint64(7)
	cases := map[string]struct {
		ops []Write
		ok  bool
	}{
		"new key":           {[]Write{{Key: "a.new", Expect: &none}}, true},
		"key exists":        {[]Write{{Key: "a.new", Expect: &none}}, false},
		"one of a batch":    {[]Write{{Key: "b.x"}, {Key: "b.y", Expect: &wrong}}, false},
		"all of a batch":    {[]Write{{Key: "c.x", Expect: &none}, {Key: "c.y", Expect: &none}}, true},
		"all, one is wrong": {[]Write{{Key: "d.x", Expect: &none}, {Key: "d.y", Expect: &wrong}}, false},
	}
	for _, name := range []string{"new key", "key exists", "one of a batch", "all of a batch", "all, one is wrong"} {
		c := cases[name]
		err := write(t, term, c.ops...)
		if c.ok && err != nil || !c.ok && !errors.Is(err, ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
		for _, op := range c.ops {
			rev, err := b.Revision(t.Context(), op.Key)
			if err != nil {
				t.Fatal(err)
			}
			if written := rev != 0; written != (c.ok || name == "key exists") {
				t.Errorf("%s: %s is at %d", name, op.Key, rev)
			}
		}
	}
	if !term.Held() {
		t.Error("a conflict ended the term")
	}
	if err := write(t, term, Write{Key: "e.x"}); err != nil {
		t.Errorf("write after conflicts: %v", err)
	}
}

func TestWrite_LastSaysWhatWasCommitted(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDesiredState, prov())
	term, _ := leads(t, b, "a", longTTL)
	newEpoch(t, term)
	wrong := uint64(7)
	ops := append(puts("pi-", 1000), Write{Key: "x.y", Expect: &wrong})
	last, err := term.Write(t.Context(), ops)
	if !errors.Is(err, ErrConflict) {
		t.Fatalf("write: %v", err)
	}
	if rev, _ := b.Revision(t.Context(), "pi-999.web"); rev != last || rev == 0 {
		t.Errorf("last is %d, the last key committed is at %d", last, rev)
	}
}

func TestWrite_RefusesWhatMayNotBeWritten(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDesiredState, prov())
	term, _ := leads(t, b, "a", longTTL)
	if err := write(t, term, Write{Key: "a.b"}); !errors.Is(err, ErrDeposed) {
		t.Errorf("without an epoch: %v", err)
	}
	newEpoch(t, term)
	for _, key := range []string{"", "_lease", "_epoch", "_fence", "a b", "a.*", ">", "a..b", ".a"} {
		if err := write(t, term, Write{Key: "ok.x"}, Write{Key: key}); !errors.Is(err, fleet.ErrIllegalKey) {
			t.Errorf("key %q: %v", key, err)
		}
	}
	large := strings.Repeat("x", fleet.MaxDesiredSize+headerRoom)
	if err := write(t, term, Write{Key: "a.b"}, Write{Key: "a.c", Value: []byte(large)}); !errors.Is(err, fleet.ErrInvalid) {
		t.Errorf("large value: %v", err)
	}
	if len(contents(t, b)) != 2 {
		t.Errorf("the bucket has %d keys", len(contents(t, b)))
	}
}

func TestWrite_CollisionsAreRetried(t *testing.T) {
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			nc := conn.Conn(t)
			b := ensured(t, nc, fleet.BucketDesiredState, conn.prov)
			term, _ := leads(t, b, "a", longTTL)
			newEpoch(t, term)
			// A second term under the same epoch stands for whoever else writes on the same fence.
			other := &Term{cfg: term.cfg, epoch: term.Epoch(), end: func(error) {}, deadline: time.Now().Add(longTTL), refusals: term.refusals}
			errs := make(chan error, 2)
			for i, w := range []*Term{term, other} {
				go func() {
					for n := range 20 {
						if _, err := w.Write(t.Context(), puts(fmt.Sprintf("w%d-%d-", i, n), 20)); err != nil {
							errs <- err
							return
						}
					}
					errs <- nil
				}()
			}
			for range 2 {
				if err := <-errs; err != nil {
					t.Errorf("write: %v", err)
				}
			}
			if got := len(contents(t, b)); got != 2+2*20*20 {
				t.Errorf("%d keys", got)
			}
			// A server alone takes one batch after the other: only a cluster sees two of them at once.
			if n := term.refusals.collided.Load(); (n > 0) != (conn.prov.Replicas > 1) {
				t.Errorf("%d collisions are counted", n)
			}
		})
	}
}

func TestWrite_OldTokenIsVoidOnANewStream(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDesiredState, prov())
	old := seize(t, b, "old")
	token := newEpoch(t, old)
	deleteStream(t, b)
	ensured(t, nc, b.name, b.prov)
	successor := seize(t, b, "new")
	if epoch := newEpoch(t, successor); epoch <= token {
		t.Fatalf("the new stream's epoch %d is not above the lost one's %d", epoch, token)
	}
	if err := write(t, old, Write{Key: "pi-01.web"}); !errors.Is(err, ErrDeposed) {
		t.Errorf("write with the old token: %v", err)
	}
}

// Why streams begin at a first sequence: without it revisions repeat on a new stream, and the token of
// the lost one is good again.
func TestFirstSequence_IsWhatKeepsTokensApart(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := Open(nc, fleet.BucketDesiredState, Provisioning{Fleet: "fleet", Storage: Memory})
	token := func(first uint64) uint64 {
		createStream(t, nc, streamConfig(b.name, b.prov, first))
		defer deleteStream(t, b)
		return put(t, b, fleet.KeyEpoch, "e")
	}
	if old, now := token(0), token(0); old != now {
		t.Errorf("without a first sequence the tokens %d and %d differ", old, now)
	}
	if old, now := token(firstSequence(time.Now())), token(firstSequence(time.Now())); old >= now {
		t.Errorf("with a first sequence token %d is not below %d", old, now)
	}
}

func TestNewEpoch_NeedsTheLease(t *testing.T) {
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			b := ensured(t, conn.Conn(t), fleet.BucketLeases, conn.prov)
			h := takeover(t, b)
			before, err := b.Revision(t.Context(), fleet.KeyEpoch)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.old.NewEpoch(t.Context()); !errors.Is(err, ErrDeposed) {
				t.Errorf("the old holder took an epoch: %v", err)
			}
			if after, _ := b.Revision(t.Context(), fleet.KeyEpoch); after != before {
				t.Errorf("the epoch went from %d to %d", before, after)
			}
		})
	}
}

func TestNewEpoch_UnknownOutcome(t *testing.T) {
	srv := fleettest.NATS(t)
	ensured(t, srv.Conn(t), fleet.BucketDesiredState, prov())
	p := proxy.New(t, srv.URL())
	b := Open((&remote{p.URL()}).Conn(t), fleet.BucketDesiredState, prov())
	term := seize(t, b, "a")
	first := newEpoch(t, term)
	p.Swallow(true)
	done := make(chan error, 1)
	go func() {
		_, err := term.NewEpoch(t.Context())
		done <- err
	}()
	fleettest.Eventually(t, soon, "the answer is missed", func() bool {
		if !term.possession.TryLock() {
			return false
		}
		defer term.possession.Unlock()
		return term.loose
	})
	p.Swallow(false)
	if err := <-done; err != nil {
		t.Fatalf("new epoch: %v", err)
	}
	if term.Epoch() <= first {
		t.Errorf("epoch %d after %d", term.Epoch(), first)
	}
	if err := write(t, term, Write{Key: "a.b"}); err != nil {
		t.Errorf("write: %v", err)
	}
}

func TestNewEpoch_LateAttemptCannotComeIntoForce(t *testing.T) {
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			b := ensured(t, conn.Conn(t), fleet.BucketDesiredState, conn.prov)
			term := seize(t, b, "a")
			late, err := epochMessage(term.cfg, term.name, term.revision) // sent, and its outcome unknown
			if err != nil {
				t.Fatal(err)
			}
			term.loose = true
			epoch := newEpoch(t, term)
			if _, err := publish(t.Context(), b.nc, late); !refused(err) {
				t.Errorf("the late attempt: %v", err)
			}
			if rev, err := b.Revision(t.Context(), fleet.KeyEpoch); err != nil || rev != epoch {
				t.Errorf("the epoch is %d, %v, not %d", rev, err, epoch)
			}
		})
	}
}

func TestNewEpoch_WhileTheLeaseIsRenewed(t *testing.T) {
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			b := ensured(t, conn.Conn(t), fleet.BucketDesiredState, conn.prov)
			term := seize(t, b, "a")
			newEpoch(t, term)
			stop := background(t, func(ctx context.Context) {
				for ctx.Err() == nil {
					if err := term.renew(ctx); err != nil && ctx.Err() == nil && !collided(err) {
						t.Errorf("renew: %v", err)
						return
					}
				}
			})
			for i := range 30 {
				newEpoch(t, term)
				if err := write(t, term, puts(fmt.Sprintf("k%d-", i), 10)...); err != nil {
					t.Fatalf("write: %v", err)
				}
			}
			stop()
		})
	}
}

// A process that was frozen does not know yet that its lease is over: until it does, it does not write either.
func TestWrite_NothingPastTheDeadline(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDesiredState, prov())
	term, _ := leads(t, b, "a", time.Minute)
	newEpoch(t, term)
	term.mu.Lock()
	term.deadline = time.Now()
	term.mu.Unlock()
	if _, err := term.Write(t.Context(), []Write{{Key: "pi.web", Value: []byte("v")}}); !errors.Is(err, ErrDeposed) {
		t.Errorf("write: %v", err)
	}
}
