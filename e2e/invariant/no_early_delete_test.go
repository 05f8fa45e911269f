package invariant

import (
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

func TestNoEarlyDelete(t *testing.T) {
	const mirror = fleet.BucketResources
	const unvouched = "while no patcher vouched"
	expire := func(s *script) { s.op(record.Op{Bucket: mirror, Key: fleet.KeyLease, Kind: record.OpExpire}) }
	restore := func(s *script) { // an old backup of the mirror
		stamp := s.now.Add(-time.Hour)
		s.after(time.Minute).found(mirror)
		for _, o := range []record.Op{
			{Key: fleet.KeyLease, Value: encoded(fleet.LeaseRecord{Term: "t"}), Revision: 10},
			{Key: fleet.KeyEpoch, Value: encoded(fleet.EpochRecord{Term: "t"}), Revision: 11},
			{Key: fleet.KeySynced, Value: encoded(fleet.Synced{Epoch: 11}), Revision: 12, Epoch: 11},
		} {
			o.Bucket, o.Stamp = mirror, stamp
			s.op(o)
		}
		s.after(20 * time.Second)
	}
	deleting := func(s *script) *script {
		s.change(fleet.KindDevice, "pi-1", func(w *record.Write) { w.Deleting = true })
		s.mirror(fleet.KindDevice, "pi-1")
		return s
	}
	judged(t, noEarlyDelete, []example{
		{"under a new epoch without _synced", func(s *script) {
			s.take(mirror, "patcher-2")
			s.after(15*time.Second).remove("pi-1", fleet.CauseEdited)
		}, unvouched},
		{"after the lease has ended", func(s *script) {
			expire(s)
			s.after(15*time.Second).remove("pi-1", fleet.CauseDeleted)
		}, unvouched},
		{"the lease is of another term", func(s *script) {
			s.lease(mirror, "patcher-2")
			s.after(15*time.Second).remove("pi-1", fleet.CauseDeleted)
		}, unvouched},
		{"_synced is foreign", func(s *script) {
			epoch := s.take(mirror, "patcher-2")
			s.put(mirror, fleet.KeySynced, encoded(fleet.Synced{Epoch: epoch}))
			s.after(15*time.Second).remove("pi-1", fleet.CauseDeleted)
		}, unvouched},
		{"an old backup of the mirror vouches for itself", func(s *script) {
			restore(s)
			s.remove("pi-1", fleet.CauseVanished)
		}, unvouched},
		{"no mirror at all", func(s *script) {
			s.rec = nil
			s.remove("pi-1", fleet.CauseDeleted)
		}, unvouched},
		{"no cause", func(s *script) { s.remove("pi-1", "") }, `"" for a cause`},
		{"a cause of somebody's own", func(s *script) { s.remove("pi-1", "cleanup") }, `"cleanup" for a cause`},

		{"while the mirror is vouched for", func(s *script) { deleting(s).remove("pi-1", fleet.CauseDeleted) }, ""},
		{"a batch was repeated under a new epoch", func(s *script) {
			deleting(s).take(mirror, "patcher-2")
			s.after(11*time.Second).remove("pi-1", fleet.CauseDeleted)
		}, ""},
		{"a moment before _synced was recorded", func(s *script) {
			deleting(s).take(mirror, "patcher-1")
			s.after(20 * time.Second)
			s.remove("pi-1", fleet.CauseDeleted)
			s.own(mirror, fleet.KeySynced, encoded(fleet.Synced{Epoch: s.epochs[mirror]}))
		}, ""},
		{"of the record of a Deployment", func(s *script) {
			expire(s)
			s.after(5 * time.Second).op(record.Op{Bucket: fleet.BucketDesiredState, Key: "_applied.web", Kind: record.OpDelete, Epoch: s.epochs[fleet.BucketDesiredState]})
		}, ""},
		{"by somebody else", func(s *script) {
			expire(s)
			s.after(5 * time.Second).op(record.Op{Bucket: fleet.BucketDesiredState, Key: "pi-1.web", Kind: record.OpDelete})
		}, ""},
		{"by a reconciler that was stopped meanwhile", func(s *script) {
			deleting(s).process(record.ProcessPaused, fleet.ServiceReconciler)
			expire(s)
			s.after(time.Minute).process(record.ProcessContinued, fleet.ServiceReconciler)
			s.remove("pi-1", fleet.CauseDeleted)
		}, ""},
		{"messages of the mirror were not seen", func(s *script) {
			deleting(s).take(mirror, "patcher-2")
			s.after(15*time.Second).remove("pi-1", fleet.CauseDeleted)
			s.after(5 * time.Second).op(record.Op{Bucket: mirror, Key: fleet.KeyLease, Missed: 1, Value: "{}"})
		}, ""},
		{"a patcher has repaired the backup", func(s *script) {
			restore(s)
			s.vouch()
			deleting(s).remove("pi-1", fleet.CauseDeleted)
		}, ""},
	})
}
