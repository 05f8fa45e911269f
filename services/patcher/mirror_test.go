package main

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/kube"
)

func TestMirror_FollowsTheResources(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	r.create(kube.Deployments, "web", selecting("north"))
	e := r.mirrored("deployment.web", `"region":"north"`)
	var d fleet.MirrorDeployment
	decodeJSON(t, e.value, &d)
	u := r.read(kube.Deployments, "web")
	if d.UID != string(u.GetUID()) || d.Generation != 1 || d.Deleting {
		t.Errorf("mirrored %s of %s", e.value, text(u))
	}
	r.patch(kube.Deployments, "web", `{"spec":{"targetSelector":{"matchLabels":{"region":"south"}}}}`)
	e = r.mirrored("deployment.web", `"region":"south"`)
	if e.ttl != "" {
		t.Errorf("a live entry has the TTL %s", e.ttl)
	}

	r.delete(kube.Deployments, "web")
	r.mirrored("deployment.web", `"deleting":true`)
	r.patch(kube.Deployments, "web", `{"metadata":{"finalizers":[]}}`)
	e = r.mirrored("deployment.web", `"cause":"deleted"`)
	if ttl, err := time.ParseDuration(e.ttl); err != nil || ttl != fleet.TombstoneTTL {
		t.Errorf("the tombstone has the TTL %q", e.ttl)
	}
	r.create(kube.Deployments, "web", selecting("west"))
	r.mirrored("deployment.web", `"region":"west"`)
}

func TestMirror_SyncedCarriesTheEpoch(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	synced, epoch := r.mirror(fleet.KeySynced), r.mirror(fleet.KeyEpoch)
	var s fleet.Synced
	decodeJSON(t, synced.value, &s)
	if s.Epoch != epoch.revision || synced.epoch != epoch.revision {
		t.Errorf("synced %+v under epoch %d", synced, epoch.revision)
	}
}

func TestMirror_RestartWithUnchangedInputWritesNothing(t *testing.T) {
	r := newRig(t)
	p := r.ready("p1")
	r.create(kube.Deployments, "web", selecting("north"))
	r.create(kube.Devices, "pi-1", map[string]any{"quarantined": true})
	r.mirrored("deployment.web", "north")
	r.mirrored("device.pi-1", `"quarantined":true`)
	before := r.keys(fleet.BucketResources)
	versions := r.versions()
	p.stop()
	r.ready("p2")
	if after := r.keys(fleet.BucketResources); text(after) != text(before) {
		t.Errorf("keys were %v and are %v", before, after)
	}
	if after := r.versions(); text(after) != text(versions) {
		t.Errorf("resource versions were %v and are %v", versions, after)
	}
}

func TestMirror_TombstonesOfWhatWentMeanwhile(t *testing.T) {
	r := newRig(t)
	p := r.ready("p1")
	for _, name := range []string{"deleted", "vanished", "stays"} {
		r.create(kube.Deployments, name, selecting("north"))
		r.mirrored("deployment."+name, "north")
	}
	r.delete(kube.Deployments, "deleted")
	r.mirrored("deployment.deleted", `"deleting":true`)
	p.stop()

	r.patch(kube.Deployments, "deleted", `{"metadata":{"finalizers":[]}}`)
	r.patch(kube.Deployments, "vanished", `{"metadata":{"finalizers":[]}}`)
	r.delete(kube.Deployments, "vanished")
	r.ready("p2")
	r.mirrored("deployment.deleted", `"cause":"deleted"`)
	r.mirrored("deployment.vanished", `"cause":"vanished"`)
	r.mirrored("deployment.stays", `"region":"north"`)
}

func TestMirror_ForeignOperationsAreRepairedUnderANewEpoch(t *testing.T) {
	tests := []struct {
		name    string
		disturb func(r *rig)
		repairs string // the key that has to be repaired
	}{
		{"deleted by hand", func(r *rig) {
			r.publish(fleet.BucketResources, "deployment.web", "", nats.Header{"KV-Operation": {"DEL"}})
		}, "deployment.web"},
		{"purged by hand", func(r *rig) {
			r.publish(fleet.BucketResources, "deployment.web", "", nats.Header{"KV-Operation": {"PURGE"}, "Nats-Rollup": {"sub"}})
		}, "deployment.web"},
		{"foreign value", func(r *rig) {
			r.publish(fleet.BucketResources, "deployment.web", `{"uid":"evil","generation":9,"targetSelector":{},"score":{"type":"x"}}`, nil)
		}, "deployment.web"},
		{"foreign value with an epoch", func(r *rig) {
			r.publish(fleet.BucketResources, "deployment.web", `{"uid":"evil","generation":9,"targetSelector":{},"score":{"type":"x"}}`,
				nats.Header{fleet.HeaderEpoch: {"1"}})
		}, "deployment.web"},
		{"whole mark removed", func(r *rig) {
			r.publish(fleet.BucketResources, fleet.KeySynced, "", nats.Header{"KV-Operation": {"DEL"}})
		}, fleet.KeySynced},
		{"whole mark forged", func(r *rig) {
			r.publish(fleet.BucketResources, fleet.KeySynced, `{"epoch":1}`, nats.Header{fleet.HeaderEpoch: {"1"}})
		}, fleet.KeySynced},
		{"epoch removed", func(r *rig) {
			r.publish(fleet.BucketResources, fleet.KeyEpoch, "", nats.Header{"KV-Operation": {"DEL"}})
		}, fleet.KeySynced},
		{"epoch purged", func(r *rig) {
			r.publish(fleet.BucketResources, fleet.KeyEpoch, "", nats.Header{"KV-Operation": {"PURGE"}, "Nats-Rollup": {"sub"}})
		}, fleet.KeySynced},
		{"foreign epoch", func(r *rig) {
			r.publish(fleet.BucketResources, fleet.KeyEpoch, `{"instance":"other"}`, nil)
		}, fleet.KeySynced},
	}
	r := newRig(t)
	r.ready("p1")
	r.create(kube.Deployments, "web", selecting("north"))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r.mirrored("deployment.web", "north")
			before := r.mirror(fleet.KeyEpoch).revision
			tt.disturb(r)
			r.eventually("the mirror is whole under a new epoch", func() bool {
				epoch := r.mirror(fleet.KeyEpoch).revision
				return epoch > before && r.mirror(fleet.KeySynced).epoch == epoch
			})
			if e := r.mirror(tt.repairs); e.epoch <= before {
				t.Errorf("%s is %+v", tt.repairs, e)
			}
			r.mirrored("deployment.web", "north")
		})
	}
}

func TestMirror_ForeignEntryWithoutResourceIsBuried(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	for name, header := range map[string]nats.Header{"ghost": nil, "spectre": {fleet.HeaderEpoch: {"1"}}} {
		r.publish(fleet.BucketResources, "deployment."+name, `{"uid":"evil","generation":1,"deleting":true,"targetSelector":{},"score":{"type":"x"}}`, header)
		r.mirrored("deployment."+name, `"cause":"vanished"`)
	}
}

func TestMirror_TakesNoNoticeOfIllegalKeys(t *testing.T) {
	r := newRig(t)
	p := r.ready("p1")
	before := r.mirror(fleet.KeyEpoch).revision
	r.publish(fleet.BucketResources, "deployment.a.b", "x", nil)
	r.eventually("the key is shown", func() bool {
		h, _ := p.health()
		for _, s := range h.Sources {
			if s.Name == fleet.BucketResources && s.Poison == 1 {
				return true
			}
		}
		return false
	})
	r.create(kube.Deployments, "web", selecting("north"))
	r.mirrored("deployment.web", "north")
	if after := r.mirror(fleet.KeyEpoch).revision; after != before {
		t.Errorf("a new epoch %d", after)
	}
}

func TestMirror_TwoReplicasHandOver(t *testing.T) {
	r := newRig(t)
	first := r.ready("p1")
	second := r.start("p2")
	r.eventually("the standby is ready", func() bool {
		h, ok := second.health()
		return ok && h.Ready && h.Lease != nil && !h.Lease.Held && h.Lease.Holder == "p1"
	})
	r.create(kube.Deployments, "web", selecting("north"))
	before := r.mirrored("deployment.web", "north")
	first.stop()
	r.eventually("the standby takes over", func() bool {
		h, ok := second.health()
		return ok && h.Lease != nil && h.Lease.Held && h.State == fleet.StateReady
	})
	if after := r.mirror("deployment.web"); after.revision != before.revision {
		t.Errorf("the entry was rewritten: %+v, %+v", before, after)
	}
	r.patch(kube.Deployments, "web", `{"spec":{"targetSelector":{"matchLabels":{"region":"south"}}}}`)
	if after := r.mirrored("deployment.web", "south"); after.epoch <= before.epoch {
		t.Errorf("written under epoch %d after %d", after.epoch, before.epoch)
	}
}

func TestMirror_HolderThatLostItsLeaseStandsDown(t *testing.T) {
	r := newRig(t)
	p := r.ready("p1")
	r.create(kube.Deployments, "web", selecting("north"))
	r.mirrored("deployment.web", "north")
	before := r.mirror(fleet.KeyEpoch).revision
	// somebody else's epoch: every write of this holder is refused from now on
	r.publish(fleet.BucketResources, fleet.KeyEpoch, `{"instance":"other"}`, nil)
	r.patch(kube.Deployments, "web", `{"spec":{"targetSelector":{"matchLabels":{"region":"south"}}}}`)
	e := r.mirrored("deployment.web", "south")
	if e.epoch <= before {
		t.Errorf("written under the old epoch: %+v", e)
	}
	r.eventually("it holds the lease again", func() bool {
		h, ok := p.health()
		return ok && h.State == fleet.StateReady && h.Lease.Held
	})
}

func TestMirror_LostStreamIsRebuilt(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	r.create(kube.Deployments, "web", selecting("north"))
	before := r.mirrored("deployment.web", "north")
	js, err := r.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(fleet.StreamName(fleet.BucketResources)); err != nil {
		t.Fatal(err)
	}
	r.eventually("the mirror is whole again", func() bool {
		e, synced := r.mirror("deployment.web"), r.mirror(fleet.KeySynced)
		return e.revision > before.revision && synced.epoch > before.epoch
	})
	r.patch(kube.Deployments, "web", `{"spec":{"targetSelector":{"matchLabels":{"region":"south"}}}}`)
	r.mirrored("deployment.web", "south")
}

func TestMirror_NATSRestartWritesNothing(t *testing.T) {
	r := newRig(t)
	p := r.ready("p1")
	r.create(kube.Deployments, "web", selecting("north"))
	before := r.mirrored("deployment.web", "north")
	r.nats.Restart()
	r.eventually("the mirror is whole under a new epoch", func() bool {
		return r.mirror(fleet.KeySynced).epoch > before.epoch
	})
	r.eventually("it is ready", func() bool { h, ok := p.health(); return ok && h.State == fleet.StateReady })
	if after := r.mirror("deployment.web"); after.revision != before.revision {
		t.Errorf("the entry was rewritten: %+v", after)
	}
}
