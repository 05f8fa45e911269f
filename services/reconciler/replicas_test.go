package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/fleettest/proxy"
	"harmony.dev/fleet/rpc"
)

// The holder's data connection holds its packets back for longer than its lease, with a write under
// way. Another replica takes over meanwhile; then the packets are delivered.
func TestReplicas_LateWriteIsRefusedAndNothingFlaps(t *testing.T) {
	s := newStack(t)
	s.device("d1", nil, "region", "north")
	s.device("d2", nil, "region", "south")
	s.deployment("web", 1, "old", nil, "region", "north")
	s.whole()
	p := proxy.New(t, s.data.URL())
	first := s.start(settings{instance: "first", url: p.URL(), leaseTTL: 2 * time.Second})
	s.keys(map[string]string{"d1.web": wanted(t, "web", "old")})
	s.rest(first)
	second := s.start(settings{instance: "second", leaseTTL: 2 * time.Second})
	fleettest.Eventually(t, soon, "the second has both buckets in view", second.view.Synced)
	before, epoch := s.tap.length(), first.elector.Health().Epoch

	p.Hold()
	said := proxy.Listen(p)
	s.deployment("web", 2, "new", nil) // d1 gets another value, d2 the first
	fleettest.Eventually(t, soon, "the second takes over", func() bool { return second.elector.Term() != nil })
	n := wanted(t, "web", "new")
	s.keys(map[string]string{"d1.web": n, "d2.web": n})
	s.deployment("web", 3, "new", nil, "region", "south") // what the first wants to put is deleted by now
	s.keys(map[string]string{"d2.web": n})
	s.rest(second)

	p.Release()
	fleettest.Eventually(t, soon, "the server refuses the late write", func() bool {
		return said.Answered(fleet.KeySubject(fleet.BucketDesiredState, "_applied.web"), proxy.WrongSequence) // the batch's last
	})
	fleettest.Eventually(t, soon, "the first is a standby with both buckets in view", func() bool {
		return first.view.Synced() && first.elector.Term() == nil
	})
	s.rest(second)
	s.keys(map[string]string{"d2.web": n})

	perKey, last := map[string]string{}, epoch
	for _, op := range s.tap.all(before) {
		if op.epoch < last {
			t.Errorf("%s was written under epoch %d after %d", op.key, op.epoch, last)
		}
		last = op.epoch
		perKey[op.key] += map[bool]string{true: "delete ", false: "put "}[op.deleted]
	}
	if perKey["d1.web"] != "put delete " || perKey["d2.web"] != "put " {
		t.Errorf("per key: %v", perKey)
	}
}

func TestReplicas_TheStandbyAnswersQueriesAndIsSilentOtherwise(t *testing.T) {
	s := newStack(t)
	s.device("d1", nil)
	s.deployment("web", 1, "a", nil)
	s.whole()
	replicas := []*replica{s.start(settings{instance: "one"}), s.start(settings{instance: "two"})}
	s.keys(map[string]string{"d1.web": wanted(t, "web", "a")})
	s.rest(replicas...)
	for _, r := range replicas {
		fleettest.Eventually(t, soon, "both have the key in view", func() bool {
			got, err := r.listTargets(t.Context(), fleet.TargetsListRequest{Deployment: "web"})
			return err == nil && fmt.Sprint(got.Devices) == "[d1]"
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if _, err := rpc.Call[fleet.HoldApproveRequest, fleet.HoldApproveResponse](ctx, s.ctl, fleet.HoldApprove, fleet.HoldApproveRequest{ID: "none"}); fleet.CodeOf(err) != fleet.CodeConflict {
		t.Errorf("approving what is not held: got %v", err)
	}
	answers, err := rpc.CallEvery[fleet.SnapshotRequest, fleet.Snapshot](ctx, s.nc, fleet.Endpoint{
		Service: fleet.ServiceReconciler, Subject: fleet.DesiredSubject("d1"),
	}, fleet.SnapshotRequest{}, time.Second)
	if err != nil || len(answers) != 1 {
		t.Errorf("%d replicas answer a device, %v", len(answers), err)
	}
}

func TestReplicas_ABlindHolderHandsTheLeaseBack(t *testing.T) {
	server := fleettest.NATS(t)
	s := newSplitStack(t, fleettest.NATS(t), server)
	s.device("d1", nil)
	s.deployment("web", 1, "a", nil)
	s.whole()
	p := proxy.New(t, s.control.URL())
	first := s.start(settings{instance: "first", controlURL: p.URL(), leaseTTL: 2 * time.Second})
	s.keys(map[string]string{"d1.web": wanted(t, "web", "a")})
	second := s.start(settings{instance: "second", leaseTTL: 2 * time.Second})
	fleettest.Eventually(t, soon, "the second has both buckets in view", second.view.Synced)

	p.Hold()
	fleettest.Eventually(t, soon, "the second takes over", func() bool { return second.elector.Term() != nil && first.elector.Term() == nil })
	s.deployment("web", 2, "b", nil)
	s.keys(map[string]string{"d1.web": wanted(t, "web", "b")})
}
