package link_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/kv"
)

const wait = 20 * time.Second

// TestLive_WhatTheServerRepublishes proves what DecodeLive relies on: each kind of change of a
// desired-state key arrives with its own headers and those of the server, once each.
func TestLive_WhatTheServerRepublishes(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	bucket := kv.Open(nc, fleet.BucketDesiredState, kv.Provisioning{Fleet: "fleet", Replicas: 1, Storage: kv.Memory})
	if err := bucket.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	sub, err := nc.SubscribeSync(fleet.LiveSubjects("pi"))
	if err != nil {
		t.Fatal(err)
	}
	next := func(want protocol.Live) protocol.Live {
		t.Helper()
		m, err := sub.NextMsg(wait)
		if err != nil {
			t.Fatal(err)
		}
		got, err := protocol.DecodeLive("pi", m.Subject, m.Header, m.Data)
		if err != nil {
			t.Fatalf("%v: %v", m.Header, err)
		}
		if got.Deployment != want.Deployment || got.Op != want.Op || got.Epoch != want.Epoch ||
			got.Previous != want.Previous || string(got.Value) != string(want.Value) || got.Sequence <= got.Previous {
			t.Fatalf("got %+v, want %+v (headers %v)", got, want, m.Header)
		}
		return got
	}

	term := hold(t, bucket)
	epoch, err := term.NewEpoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	write := func(w ...kv.Write) {
		t.Helper()
		if _, err := term.Write(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	write(kv.Write{Key: "pi.web", Value: []byte("one")})
	first := next(protocol.Live{Deployment: "web", Epoch: epoch, Value: []byte("one")})
	// A batch: its headers come along, too.
	write(kv.Write{Key: "pi.web", Value: []byte("two")}, kv.Write{Key: "pi.db", Value: []byte("x")}, kv.Write{Key: "other.web", Value: []byte("x")})
	second := next(protocol.Live{Deployment: "web", Epoch: epoch, Previous: first.Sequence, Value: []byte("two")})
	db := next(protocol.Live{Deployment: "db", Epoch: epoch, Value: []byte("x")})
	// A delete whose marker expires soon, and what the server says then.
	write(kv.Write{Key: "pi.web", Delete: true, TTL: time.Second, Header: map[string]string{fleet.HeaderCause: "deleted"}})
	gone := next(protocol.Live{Deployment: "web", Op: protocol.Delete, Epoch: epoch, Previous: second.Sequence})
	next(protocol.Live{Deployment: "web", Op: protocol.Expired, Previous: gone.Sequence})
	// Somebody else's delete has no epoch.
	publish(t, nc, "pi.db", nats.Header{"KV-Operation": {"PURGE"}}, "")
	next(protocol.Live{Deployment: "db", Op: protocol.Delete, Previous: db.Sequence})
}

// hold takes the lease of a bucket until the test ends.
func hold(t *testing.T, bucket *kv.Bucket) *kv.Term {
	t.Helper()
	elector := kv.NewElector(kv.ElectorConfig{
		Bucket: bucket, Instance: "test", TTL: 10 * time.Second, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	terms, done := make(chan *kv.Term), make(chan error)
	go func() {
		done <- elector.Run(ctx, func(ctx context.Context, term *kv.Term) error {
			terms <- term
			<-ctx.Done()
			return nil
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case term := <-terms:
		return term
	case <-time.After(wait):
		t.Fatal("no lease")
		return nil
	}
}

// TestLive_Forged: what is no republished change of the own key is none for the agent, whoever
// makes the server deliver it.
func TestLive_Forged(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	for _, bucket := range []string{fleet.BucketDesiredState, fleet.BucketDeviceState} {
		if err := kv.Open(nc, bucket, kv.Provisioning{Fleet: "fleet", Replicas: 1, Storage: kv.Memory}).Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := nc.SubscribeSync(fleet.LiveSubjects("pi"))
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string) {
		t.Helper()
		m, err := sub.NextMsg(wait)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if l, err := protocol.DecodeLive("pi", m.Subject, m.Header, m.Data); !errors.Is(err, protocol.ErrNotOwn) {
			t.Errorf("%s: accepted %+v", what, l)
		}
	}
	target := fleet.LiveSubject(fleet.Pair{Device: "pi", Deployment: "web"})

	// The server's acknowledgement of a publish, aimed at the live subject.
	if err := nc.PublishRequest("$KV.device-state.state.evil.web", target, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	refused("an acknowledgement")
	// A stored message of another key, fetched with the live subject as the reply.
	publish(t, nc, "evil.web", nats.Header{fleet.HeaderEpoch: {"7"}}, "stolen")
	if err := nc.PublishRequest("$JS.API.DIRECT.GET.KV_desired-state.$KV.desired-state.evil.web", target, nil); err != nil {
		t.Fatal(err)
	}
	refused("a fetched message")
	// A write that brings the server's headers along: they are there twice then.
	publish(t, nc, "pi.web", nats.Header{"Nats-Sequence": {"1"}, fleet.HeaderEpoch: {"7"}}, "x")
	refused("a write with the server's headers")
}

func publish(t *testing.T, nc *nats.Conn, key string, h nats.Header, value string) {
	t.Helper()
	m := &nats.Msg{Subject: fleet.KeySubject(fleet.BucketDesiredState, key), Header: h, Data: []byte(value)}
	ack, err := nc.RequestMsg(m, wait)
	if err != nil {
		t.Fatal(err)
	}
	if e := ack.Header.Get("Status"); e != "" {
		t.Fatalf("publish %s: %s", key, e)
	}
}
