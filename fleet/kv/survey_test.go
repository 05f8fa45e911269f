package kv

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jsm.go/api"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

func TestSurvey_FindsNothingInABucketAsCreated(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	for _, name := range allBuckets {
		for _, p := range []Provisioning{prov(), {Fleet: "other", Storage: Memory, MaxBytes: 1 << 20}} {
			b := Open(nc, name, Provisioning{})
			if _, err := b.Survey(t.Context()); !errors.Is(err, ErrBucketMissing) {
				t.Fatalf("%s is missing: %v", name, err)
			}
			ensured(t, nc, name, p)
			s, err := b.Survey(t.Context())
			if err != nil || len(s.Differences) > 0 || s.Edit.Subject != "" || s.Fleet != p.Fleet || s.Created.IsZero() || s.Time.IsZero() {
				t.Errorf("%s: %+v, %v", name, s, err)
			}
			if answer := send(t, nc, s.Delete); !strings.Contains(answer, `"success":true`) {
				t.Errorf("%s: delete: %s", name, answer)
			}
		}
	}
}

func TestSurvey_EditMendsWhatTheServerLetsOneChange(t *testing.T) {
	for name, c := range map[string]struct {
		bucket string
		change func(*api.StreamConfig)
		fixed  bool // the server does not let one change it
	}{
		"no batches": {fleet.BucketDesiredState, func(c *api.StreamConfig) { c.AllowAtomicPublish = false }, false},
		"history":    {fleet.BucketDesiredState, func(c *api.StreamConfig) { c.MaxMsgsPer = 5 }, false},
		"expiry":     {fleet.BucketDeviceInfo, func(c *api.StreamConfig) { c.MaxAge = time.Hour }, false},
		"many": {fleet.BucketResources, func(c *api.StreamConfig) {
			c.AllowDirect, c.DenyDelete, c.MaxMsgSize, c.Discard, c.Duplicates = false, false, -1, api.DiscardOld, time.Hour
			c.AllowMsgTTL, c.SubjectDeleteMarkerTTL, c.RollupAllowed, c.MaxMsgs = false, 0, false, 100
		}, false},
		"republish":    {fleet.BucketDesiredState, func(c *api.StreamConfig) { c.RePublish = nil }, false},
		"roll-ups":     {fleet.BucketDeviceState, func(c *api.StreamConfig) { c.RollupAllowed = true }, false},
		"first seq":    {fleet.BucketDesiredState, func(c *api.StreamConfig) { c.FirstSeq = 0 }, true},
		"interest":     {fleet.BucketDeviceState, func(c *api.StreamConfig) { c.Retention = api.WorkQueuePolicy }, true},
		"no purges":    {fleet.BucketDeviceState, func(c *api.StreamConfig) { c.DenyPurge = true }, true},
		"no consumers": {fleet.BucketDeviceState, func(c *api.StreamConfig) { c.MaxConsumers = 3 }, true},
		"schedules":    {fleet.BucketDeviceState, func(c *api.StreamConfig) { c.AllowMsgSchedules, c.Discard = true, api.DiscardOld }, true},
	} {
		t.Run(name, func(t *testing.T) {
			nc := fleettest.NATS(t).Conn(t)
			cfg := streamConfig(c.bucket, prov(), firstSequence(time.Now()))
			cfg.Description = "as a person wrote it"
			c.change(&cfg)
			createStream(t, nc, cfg)
			b := Open(nc, c.bucket, prov())
			put(t, b, "a.b", "v")
			s, err := b.Survey(t.Context())
			if err != nil || len(s.Differences) == 0 {
				t.Fatalf("survey: %+v, %v", s, err)
			}
			if (s.Edit.Subject == "") != c.fixed {
				t.Fatalf("%v is mended by %q", s.Differences, s.Edit.Subject)
			}
			if c.fixed {
				send(t, nc, s.Delete)
				ensured(t, nc, b.name, prov())
				return
			}
			answer := send(t, nc, s.Edit)
			if again, err := b.Survey(t.Context()); err != nil || len(again.Differences) > 0 {
				t.Errorf("edited, it differs still: %v, %v; the server said %s", again.Differences, err, answer)
			}
			if err := b.Ensure(t.Context()); err != nil {
				t.Errorf("the owner does not take it: %v", err)
			}
			info, err := b.info(t.Context())
			if err != nil || info.State.Msgs != 1 || info.Config.Description != cfg.Description {
				t.Errorf("more was changed: %+v, %v", info, err)
			}
		})
	}
}
