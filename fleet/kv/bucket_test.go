package kv

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

func TestBucket_RevisionAndDeleteIf(t *testing.T) {
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			b := ensured(t, conn.Conn(t), fleet.BucketDeviceState, conn.prov)
			if rev, err := b.Revision(t.Context(), "state.a.b"); rev != 0 || err != nil {
				t.Fatalf("absent key: %d, %v", rev, err)
			}
			old := put(t, b, "state.a.b", "1")
			now := put(t, b, "state.a.b", "2")
			if rev, err := b.Revision(t.Context(), "state.a.b"); rev != now || err != nil {
				t.Fatalf("revision %d, %v, want %d", rev, err, now)
			}
			if err := b.DeleteIf(t.Context(), "state.a.b", old); !errors.Is(err, ErrConflict) {
				t.Errorf("delete at an old revision: %v", err)
			}
			if err := b.DeleteIf(t.Context(), "state.a.b", now); err != nil {
				t.Errorf("delete: %v", err)
			}
			if got := contents(t, b); len(got) != 0 {
				t.Errorf("contents %v", got)
			}
		})
	}
}

func TestBucket_Missing(t *testing.T) {
	b := Open(fleettest.NATS(t).Conn(t), fleet.BucketDeviceState, prov())
	if _, err := b.Revision(t.Context(), "k"); !errors.Is(err, ErrBucketMissing) {
		t.Errorf("revision: %v", err)
	}
	if _, err := b.Put(t.Context(), "k", nil, nil); !errors.Is(err, ErrBucketMissing) || errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("put: %v", err)
	}
	if err := b.Purge(t.Context(), "k"); !errors.Is(err, ErrBucketMissing) {
		t.Errorf("purge: %v", err)
	}
}

func TestBucket_PurgeRemovesAnIllegalKey(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDeviceState, prov())
	put(t, b, "state.a.b", "1")
	illegal := "state.ä!(%).x"
	if _, err := publish(t.Context(), nc, &nats.Msg{Subject: fleet.KeySubject(b.name, illegal), Data: []byte("x")}); err != nil {
		t.Fatalf("publish: %v", err)
	}
	purge(t, b, illegal)
	if got := contents(t, b); len(got) != 1 {
		t.Errorf("contents %v", got)
	}
	for _, key := range []string{"", ">", "state.*.b", "*"} {
		if err := b.Purge(t.Context(), key); !errors.Is(err, fleet.ErrIllegalKey) {
			t.Errorf("purge %q: %v", key, err)
		}
	}
	if got := contents(t, b); len(got) != 1 {
		t.Errorf("contents %v", got)
	}
}

func TestAgentBuckets_CannotBeWipedByARollup(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	for _, name := range []string{fleet.BucketDeviceInfo, fleet.BucketDeviceState, fleet.BucketDeviceHeartbeat} {
		b := ensured(t, nc, name, prov())
		put(t, b, "k.victim", "1")
		h := nats.Header{}
		h.Set("Nats-Rollup", "all")
		if _, err := b.Put(t.Context(), "k.own", []byte("x"), h); err == nil {
			t.Errorf("%s: the roll-up was accepted", name)
		}
		if got := contents(t, b); len(got) != 1 {
			t.Errorf("%s has %v", name, got)
		}
	}
}

func TestAgentBuckets_RefuseLargeValues(t *testing.T) {
	b := ensured(t, fleettest.NATS(t).Conn(t), fleet.BucketDeviceHeartbeat, prov())
	if _, err := b.Put(t.Context(), "heartbeat.pi-01", make([]byte, fleet.MaxHeartbeatSize+headerRoom+1), nil); err == nil {
		t.Error("accepted")
	}
	if _, err := b.Put(t.Context(), "heartbeat.pi-01", make([]byte, fleet.MaxHeartbeatSize), nil); err != nil {
		t.Errorf("the largest value: %v", err)
	}
}
