package kv

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/fleettest/proxy"
)

// candidate is one replica with an elector.
type candidate struct {
	*Elector
	stop   func()
	active atomic.Int32
	terms  atomic.Int32
}

func campaign(t testing.TB, b *Bucket, cfg ElectorConfig) *candidate {
	t.Helper()
	cfg.Bucket, cfg.Own, cfg.Log = b, true, testLog(t)
	c := &candidate{Elector: NewElector(cfg)}
	c.stop = background(t, func(ctx context.Context) {
		err := c.Run(ctx, func(ctx context.Context, _ *Term) error {
			c.terms.Add(1)
			c.active.Add(1)
			defer c.active.Add(-1)
			<-ctx.Done()
			return context.Cause(ctx)
		})
		if err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return c
}

func TestElector_GracefulHandover(t *testing.T) {
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			b := ensured(t, conn.Conn(t), fleet.BucketLeases, conn.prov)
			first := campaign(t, b, ElectorConfig{Instance: "first", TTL: longTTL})
			awaitTerm(t, first.Elector)
			second := campaign(t, b, ElectorConfig{Instance: "second", TTL: longTTL})
			fleettest.Eventually(t, soon, "the standby knows the holder", func() bool { return second.Health().Holder == "first" })
			if h := first.Health(); !h.Held || h.Holder != "first" || h.Bucket != b.name {
				t.Errorf("health %+v", h)
			}
			began := time.Now()
			first.stop()
			awaitTerm(t, second.Elector)
			if took := time.Since(began); took > longTTL/2 {
				t.Errorf("handover took %s", took)
			} else {
				t.Logf("handover took %s", took.Round(time.Millisecond))
			}
			if first.Health().Held {
				t.Error("the first still holds it")
			}
		})
	}
}

func TestElector_TakeoverAfterAKill(t *testing.T) {
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			b := ensured(t, conn.Conn(t), fleet.BucketLeases, conn.prov)
			const ttl = 2 * time.Second
			e := NewElector(ElectorConfig{Bucket: b, Own: true, Instance: "killed", TTL: ttl, Log: testLog(t)})
			term, _, err := e.campaign(t.Context()) // takes the lease and never renews it: as a killed process
			if err != nil || term == nil {
				t.Fatalf("campaign: %v", err)
			}
			defer term.end(nil)
			began := time.Now()
			c := campaign(t, b, ElectorConfig{Instance: "standby", TTL: ttl})
			awaitTerm(t, c.Elector)
			if term.Held() {
				t.Error("both believe to hold the lease")
			}
			t.Logf("takeover after %s with a TTL of %s", time.Since(began).Round(time.Millisecond), ttl)
		})
	}
}

func TestElector_RenewalKeepsTheTTL(t *testing.T) {
	b := ensured(t, fleettest.NATS(t).Conn(t), fleet.BucketLeases, prov())
	const ttl = 2 * time.Second
	c := campaign(t, b, ElectorConfig{Instance: "a", TTL: ttl})
	term := awaitTerm(t, c.Elector)
	first, err := b.Revision(t.Context(), fleet.KeyLease)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	fleettest.Eventually(t, soon, "renewed beyond its TTL", func() bool {
		rev, err := b.Revision(t.Context(), fleet.KeyLease)
		return err == nil && rev > first && time.Since(began) > ttl+ttl/2
	})
	if !term.Held() || c.terms.Load() != 1 {
		t.Errorf("held %v in %d terms", term.Held(), c.terms.Load())
	}
	l, err := readLease(t.Context(), b)
	if err != nil || !l.expires || l.instance != "a" {
		t.Errorf("lease %+v, %v", l, err)
	}
}

func TestElector_NeverTwoWithAPausedHolder(t *testing.T) {
	srv := fleettest.NATS(t)
	b := ensured(t, srv.Conn(t), fleet.BucketLeases, prov())
	p := proxy.New(t, srv.URL())
	const ttl = 2 * time.Second
	paused := campaign(t, Open((&remote{p.URL()}).Conn(t), b.name, prov()), ElectorConfig{Instance: "paused", TTL: ttl})
	awaitTerm(t, paused.Elector)
	other := campaign(t, b, ElectorConfig{Instance: "other", TTL: ttl})

	var both atomic.Int32
	stop := background(t, func(ctx context.Context) {
		for ctx.Err() == nil {
			// In this order: what held at the second look was not given up before the first.
			if other.Term() != nil && paused.active.Load() > 0 && paused.Term() != nil {
				both.Add(1)
			}
			rest(ctx, time.Millisecond)
		}
	})
	for range 2 {
		p.Swallow(true)
		fleettest.Eventually(t, soon, "the other takes over", func() bool { return other.Term() != nil })
		fleettest.Eventually(t, soon, "the paused one has stopped", func() bool { return paused.active.Load() == 0 })
		p.Swallow(false)
		p.Cut()
		other.Term().depose() // hand back: the elector gives the lease up and lets the other try
		fleettest.Eventually(t, soon, "one of them holds it", func() bool { return other.Term() != nil || paused.Term() != nil })
		if paused.Term() == nil {
			break
		}
	}
	stop()
	if n := both.Load(); n != 0 {
		t.Errorf("both believed to hold the lease at %d looks", n)
	}
}

func TestElector_OwnLostAnswerIsNoLoss(t *testing.T) {
	srv := fleettest.NATS(t)
	b := ensured(t, srv.Conn(t), fleet.BucketLeases, prov())
	term := seize(t, b, "a")
	// A renewal that arrived and whose answer did not.
	m, err := leaseMessage(term.cfg, term.holder, term.name, term.revision)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := publish(t.Context(), b.nc, m); err != nil {
		t.Fatal(err)
	}
	if err := term.renew(t.Context()); !errors.Is(err, errTryAgain) {
		t.Fatalf("renew: %v", err)
	}
	if err := term.renew(t.Context()); err != nil {
		t.Fatalf("renew again: %v", err)
	}
	newEpoch(t, term)
	if err := term.release(t.Context()); err != nil {
		t.Fatalf("release: %v", err)
	}
	if l, err := readLease(t.Context(), b); err != nil || l.held {
		t.Errorf("lease after release: %+v, %v", l, err)
	}
}

func TestElector_LeaseWithoutTTLIsReported(t *testing.T) {
	b := ensured(t, fleettest.NATS(t).Conn(t), fleet.BucketLeases, prov())
	put(t, b, fleet.KeyLease, `{"instance":"by hand"}`)
	c := campaign(t, b, ElectorConfig{Instance: "a", TTL: longTTL})
	fleettest.Eventually(t, soon, "the reason says what to do", func() bool {
		r := c.Reason()
		return r != nil && strings.Contains(r.Message, "by hand") && strings.Contains(r.Message, "nats kv del fleet-leases _lease")
	})
	if err := b.DeleteIf(t.Context(), fleet.KeyLease, must(b.Revision(t.Context(), fleet.KeyLease))); err != nil {
		t.Fatal(err)
	}
	awaitTerm(t, c.Elector)
	if c.Reason() != nil {
		t.Errorf("reason %+v", c.Reason())
	}
}

func must(rev uint64, err error) uint64 {
	if err != nil {
		panic(err)
	}
	return rev
}

func TestElector_AnotherFleetNeverLeases(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketLeases, prov())
	stranger := campaign(t, Open(nc, b.name, Provisioning{Fleet: "other"}), ElectorConfig{Instance: "stranger", TTL: longTTL})
	fleettest.Eventually(t, soon, "the reason names both fleets", func() bool {
		r := stranger.Reason()
		return r != nil && r.Reason == "FleetMismatch"
	})
	if rev, err := b.Revision(t.Context(), fleet.KeyLease); rev != 0 || err != nil {
		t.Errorf("lease at %d, %v", rev, err)
	}
}

func TestElector_CampaignsOnlyWhileEligible(t *testing.T) {
	b := ensured(t, fleettest.NATS(t).Conn(t), fleet.BucketLeases, prov())
	var eligible atomic.Bool
	var asked atomic.Int32
	c := campaign(t, b, ElectorConfig{Instance: "a", TTL: longTTL, Eligible: func() bool { asked.Add(1); return eligible.Load() }})
	fleettest.Eventually(t, soon, "asked several times", func() bool { return asked.Load() > 3 })
	if c.Term() != nil {
		t.Error("it leads")
	}
	eligible.Store(true)
	awaitTerm(t, c.Elector)
}

func TestElector_KeepsTheLeaseWhileActFinishes(t *testing.T) {
	b := ensured(t, fleettest.NATS(t).Conn(t), fleet.BucketLeases, prov())
	const ttl = time.Second
	e := NewElector(ElectorConfig{Bucket: b, Own: true, Instance: "a", TTL: ttl, Log: testLog(t)})
	ctx, cancel := context.WithCancel(t.Context())
	acting, finish := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- e.Run(ctx, func(ctx context.Context, term *Term) error {
			close(acting)
			<-ctx.Done()
			<-finish
			if !term.Held() {
				return errors.New("the lease was lost while act finished")
			}
			_, err := term.NewEpoch(context.WithoutCancel(ctx))
			return err
		})
	}()
	await(t, acting, "acting")
	cancel()
	began := time.Now()
	fleettest.Eventually(t, soon, "longer than the lease", func() bool { return time.Since(began) > 2*ttl })
	if l, err := readLease(t.Context(), b); err != nil || !l.held {
		t.Errorf("lease while act finishes: %+v, %v", l, err)
	}
	close(finish)
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	if l, err := readLease(t.Context(), b); err != nil || l.held {
		t.Errorf("lease at the end: %+v, %v", l, err)
	}
	if rev, err := b.Revision(t.Context(), fleet.KeyEpoch); err != nil || rev == 0 {
		t.Errorf("epoch at %d, %v: act could not finish", rev, err)
	}
}

func TestElector_ActReturningGivesTheLeaseBack(t *testing.T) {
	b := ensured(t, fleettest.NATS(t).Conn(t), fleet.BucketLeases, prov())
	e := NewElector(ElectorConfig{Bucket: b, Own: true, Instance: "a", TTL: longTTL, Log: testLog(t)})
	var mu sync.Mutex
	var terms []*Term
	background(t, func(ctx context.Context) {
		_ = e.Run(ctx, func(_ context.Context, term *Term) error {
			mu.Lock()
			defer mu.Unlock()
			terms = append(terms, term)
			return errors.New("no luck")
		})
	})
	fleettest.Eventually(t, soon, "a second term", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(terms) > 1
	})
	mu.Lock()
	defer mu.Unlock()
	if terms[0].Held() {
		t.Error("the first term is still held")
	}
	if _, err := terms[0].NewEpoch(t.Context()); !errors.Is(err, ErrDeposed) {
		t.Errorf("an epoch in an old term: %v", err)
	}
}

func TestElector_SurvivesTheLossOfEverything(t *testing.T) {
	srv := fleettest.NATS(t)
	nc := srv.Conn(t)
	b := ensured(t, nc, fleet.BucketLeases, prov())
	c := campaign(t, b, ElectorConfig{Instance: "a", TTL: time.Second})
	first := awaitTerm(t, c.Elector)
	deleteStream(t, b)
	fleettest.Eventually(t, soon, "the term on the lost stream ends", func() bool { return !first.Held() })
	second := awaitTerm(t, c.Elector)
	srv.Restart()
	newEpochEventually(t, c)
	_ = second
}

// The stream comes back as it was, with a lease of the same holder that has not run out: what the term knew is
// gone all the same.
func TestElector_ALeaseThatWentBackEndsTheTerm(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := Open(nc, fleet.BucketLeases, prov())
	old := streamConfig(b.name, prov(), firstSequence(time.Now().Add(-time.Hour)))
	ensured(t, nc, b.name, prov())
	c := campaign(t, b, ElectorConfig{Instance: "a", TTL: longTTL})
	first := awaitTerm(t, c.Elector)
	backup, err := leaseMessage(c.cfg, c.holder, first.name, 0)
	if err != nil {
		t.Fatal(err)
	}

	deleteStream(t, b)
	createStream(t, nc, old)
	if _, err := publish(t.Context(), nc, backup); err != nil {
		t.Fatalf("bring the lease back: %v", err)
	}
	if _, err := first.NewEpoch(t.Context()); !errors.Is(err, ErrDeposed) {
		t.Errorf("an epoch under the lease of the backup: %v", err)
	}
	newEpochEventually(t, c)
	if second := c.Term(); second != nil && second.name == first.name {
		t.Error("the term goes on")
	}
}

// newEpochEventually takes an epoch in whichever term there is.
func newEpochEventually(t *testing.T, c *candidate) {
	t.Helper()
	fleettest.Eventually(t, soon, "an epoch can be taken", func() bool {
		term := c.Term()
		if term == nil {
			return false
		}
		_, err := term.NewEpoch(t.Context())
		return err == nil
	})
}

// A bucket that is lost several times in a row is taken care of as soon as the first time.
func TestElector_RestsNoLongerAfterEachLoss(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDesiredState, prov())
	e := NewElector(ElectorConfig{Bucket: b, Own: true, Instance: "a", TTL: time.Second, Log: testLog(t)})
	background(t, func(ctx context.Context) {
		_ = e.Run(ctx, func(ctx context.Context, _ *Term) error {
			<-ctx.Done()
			return ctx.Err()
		})
	})
	for range 4 {
		term := awaitTerm(t, e)
		deleteStream(t, b)
		fleettest.Eventually(t, soon, "the lease is lost", func() bool { return !term.Held() })
	}
	lost := time.Now()
	awaitTerm(t, e)
	if took := time.Since(lost); took > 3*time.Second {
		t.Errorf("the lease is taken %s after the fourth loss", took)
	}
}
