package kv

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jsm.go/api"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

var allBuckets = []string{
	fleet.BucketDesiredState, fleet.BucketResources, fleet.BucketLeases,
	fleet.BucketDeviceInfo, fleet.BucketDeviceState, fleet.BucketDeviceHeartbeat,
}

func TestEnsure_CreatesEveryBucketAsWanted(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	before := firstSequence(time.Now())
	for _, name := range allBuckets {
		t.Run(name, func(t *testing.T) {
			b := Open(nc, name, prov())
			if err := b.Check(t.Context()); !errors.Is(err, ErrBucketMissing) {
				t.Fatalf("check before creation: %v", err)
			}
			for range 2 {
				if err := b.Ensure(t.Context()); err != nil {
					t.Fatalf("ensure: %v", err)
				}
			}
			if err := b.Check(t.Context()); err != nil {
				t.Fatalf("check: %v", err)
			}
			info, err := b.info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if info.Config.FirstSeq < before || info.State.FirstSeq < before {
				t.Errorf("first sequence %d, state %d: before the test began", info.Config.FirstSeq, info.State.FirstSeq)
			}
			if got, want := info.Config.RollupAllowed, fenced(name); got != want {
				t.Errorf("allow_rollup_hdrs %v, want %v", got, want)
			}
			if rev := put(t, b, "a.b", "v"); rev < before {
				t.Errorf("first revision %d", rev)
			}
		})
	}
}

func TestEnsure_BindsWithAnyKVClient(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDesiredState, prov())
	put(t, b, "pi-01.web", "v")
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.KeyValue(b.Name())
	if err != nil {
		t.Fatalf("bind: %v", err)
	}
	if e, err := bucket.Get("pi-01.web"); err != nil || string(e.Value()) != "v" {
		t.Fatalf("get: %v, %v", e, err)
	}
}

func TestEnsure_RepublishesDesiredState(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDesiredState, prov())
	pair := fleet.Pair{Device: "pi-01", Deployment: "web"}
	sub, err := nc.SubscribeSync(fleet.LiveSubjects(pair.Device))
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, fleet.DesiredKey(pair), "v")
	m, err := sub.NextMsg(soon)
	if err != nil {
		t.Fatalf("no live message: %v", err)
	}
	if m.Subject != fleet.LiveSubject(pair) || m.Header.Get("Nats-Stream") != fleet.StreamName(b.Name()) ||
		m.Header.Get("Nats-Subject") != fleet.KeySubject(b.Name(), fleet.DesiredKey(pair)) || m.Header.Get("Nats-Sequence") == "" {
		t.Fatalf("live message on %s with %v", m.Subject, m.Header)
	}
}

func TestEnsure_OneOfTwoOwnersCreates(t *testing.T) {
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			errs := make([]error, 8)
			for i := range errs {
				b := Open(conn.Conn(t), fleet.BucketResources, conn.prov)
				wg.Go(func() {
					// Until a new stream has a leader nobody answers for it, and nodes may not know of it yet: that
					// may take several calls.
					for ctx := t.Context(); ctx.Err() == nil; {
						if errs[i] = b.Ensure(ctx); !errors.Is(errs[i], context.DeadlineExceeded) && !errors.Is(errs[i], ErrBucketMissing) {
							return
						}
					}
				})
			}
			wg.Wait()
			for i, err := range errs {
				if err != nil {
					t.Errorf("owner %d: %v", i, err)
				}
			}
		})
	}
}

func TestEnsure_ReportsAWrongConfiguration(t *testing.T) {
	cases := map[string]struct {
		change func(*api.StreamConfig)
		want   string // field of the owner's complaint
		reader bool   // a reader complains, too
	}{
		"no fence":       {func(c *api.StreamConfig) { c.AllowAtomicPublish = false }, "allow_atomic", false},
		"history":        {func(c *api.StreamConfig) { c.MaxMsgsPer = 5 }, "max_msgs_per_subject", true},
		"expiry":         {func(c *api.StreamConfig) { c.MaxAge = time.Hour }, "max_age", true},
		"high first seq": {func(c *api.StreamConfig) { c.FirstSeq = 1<<63 - 10 }, "first_seq", false},
		"no first seq":   {func(c *api.StreamConfig) { c.FirstSeq = 0 }, "first_seq", false},
		"no republish":   {func(c *api.StreamConfig) { c.RePublish = nil }, "republish", false},
		"other storage":  {func(c *api.StreamConfig) { c.Storage = api.MemoryStorage }, "storage", false},
		"no message ttl": {func(c *api.StreamConfig) { c.AllowMsgTTL, c.SubjectDeleteMarkerTTL = false, 0 }, "allow_msg_ttl", false},
		"deletes":        {func(c *api.StreamConfig) { c.DenyDelete = false }, "deny_delete", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			// A server of its own: one that deletes and creates a stream of the same name many times in a
			// row may find the files of an earlier one still there.
			nc := fleettest.NATS(t).Conn(t)
			b := Open(nc, fleet.BucketDesiredState, prov())
			cfg := streamConfig(b.Name(), prov(), firstSequence(time.Now()))
			c.change(&cfg)
			createStream(t, nc, cfg)
			var config *ConfigError
			if err := b.Ensure(t.Context()); !errors.As(err, &config) || !strings.Contains(strings.Join(config.Differences, ";"), c.want+" is ") {
				t.Errorf("ensure: %v, want a complaint about %s", err, c.want)
			}
			if err := b.Check(t.Context()); errors.As(err, &config) != c.reader {
				t.Errorf("check: %v, complaint wanted: %v", err, c.reader)
			}
			info, err := b.info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diffs, _ := differences(cfg, info.Config, nil); len(diffs) > 0 && c.want != "first_seq" {
				t.Errorf("the stream was changed: %v", diffs)
			}
		})
	}
}

func TestEnsure_ReportsAnotherFleet(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	ensured(t, nc, fleet.BucketLeases, prov())
	b := Open(nc, fleet.BucketLeases, Provisioning{Fleet: "other"})
	for name, f := range map[string]func() error{
		"ensure": func() error { return b.Ensure(t.Context()) },
		"check":  func() error { return b.Check(t.Context()) },
	} {
		var other *FleetError
		if err := f(); !errors.As(err, &other) || other.Got != "fleet" || other.Want != "other" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEnsure_WithoutJetStream(t *testing.T) {
	nc := fleettest.NATS(t, fleettest.WithoutJetStream()).Conn(t)
	b := Open(nc, fleet.BucketLeases, prov())
	if err := b.Ensure(t.Context()); !errors.Is(err, ErrNoJetStream) {
		t.Fatalf("ensure: %v", err)
	}
}

func TestCheckVersion(t *testing.T) {
	for version, ok := range map[string]bool{
		"2.13.9": false, "2.9.0": false, "1.4.1": false, "2.14.0": true, "2.14.0-RC.1": true, "2.15.2": true, "3.0.0": true, "v2.15.2": true, "dev": true, "": true,
	} {
		err := checkVersion(version)
		if (err == nil) != ok {
			t.Errorf("%s: %v", version, err)
		}
		if err != nil && (!errors.Is(err, ErrServerTooOld) || !strings.Contains(err.Error(), version) || !strings.Contains(err.Error(), "2.14")) {
			t.Errorf("%s: %v", version, err)
		}
	}
}
