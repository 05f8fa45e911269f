package invariant

import (
	"testing"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

func TestFence(t *testing.T) {
	const bucket = fleet.BucketDesiredState
	underOld := func(s *script) record.Op {
		old := s.epochs[bucket]
		s.take(bucket, "reconciler-2")
		return record.Op{Bucket: bucket, Key: "pi-3.web", Value: "x", Epoch: old}
	}
	judged(t, fence, []example{
		{"old holder writes after the new one took over", func(s *script) { s.op(underOld(s)) }, "accepted under epoch"},
		{"old holder deletes", func(s *script) {
			o := underOld(s)
			o.Kind = record.OpDelete
			s.op(o)
		}, "accepted under epoch"},
		{"old holder writes a record", func(s *script) {
			o := underOld(s)
			o.Key = "_applied.web"
			s.op(o)
		}, "_applied.web at revision"},
		{"a write before somebody else's epoch was overwritten", func(s *script) {
			s.put(bucket, fleet.KeyEpoch, "{}")
			s.applied(webUID, 1)
		}, "accepted under epoch"},
		{"epoch of a key that is none", func(s *script) {
			none := s.put(bucket, "pi-9.web", "foreign")
			s.op(record.Op{Bucket: bucket, Key: "pi-3.web", Epoch: none})
		}, "which nobody took"},
		{"epoch from the future", func(s *script) {
			s.op(record.Op{Bucket: bucket, Key: "pi-3.web", Epoch: s.revision[bucket] + 9})
		}, "did not exist yet"},
		{"in the mirror", func(s *script) {
			old := s.epochs[fleet.BucketResources]
			s.take(fleet.BucketResources, "patcher-2")
			s.op(record.Op{Bucket: fleet.BucketResources, Key: "device.pi-1", Epoch: old})
		}, "fleet-resources: device.pi-1"},
		{"two epochs interleave, and neither was seen to be taken", func(s *script) {
			e := s.revision[bucket]
			s.op(record.Op{Bucket: bucket, Key: "a.web", Epoch: e + 2, Missed: 5})
			s.op(record.Op{Bucket: bucket, Key: "b.web", Epoch: e + 1})
		}, "b.web"},

		{"a take-over", func(s *script) { s.take(bucket, "reconciler-2"); s.applied(webUID, 1) }, ""},
		{"the epoch of a holder was missed", func(s *script) {
			s.op(record.Op{Bucket: bucket, Key: "pi-3.web", Missed: 3, Epoch: s.revision[bucket] + 2})
		}, ""},
		{"a foreign write", func(s *script) { s.take(bucket, "reconciler-2"); s.put(bucket, "pi-3.web", "x") }, ""},
		{"the scenario forges an old epoch", func(s *script) {
			o := underOld(s)
			revision := s.op(o)
			s.add(record.Event{Ack: &record.Ack{Bucket: o.Bucket, Key: o.Key, Revision: revision, Value: o.Value}})
		}, ""},
		{"a roll-back replays what an older holder wrote", func(s *script) {
			s.take(bucket, "reconciler-2")
			s.found(bucket)
			s.epochs[bucket] = 105
			s.op(record.Op{Bucket: bucket, Key: fleet.KeyEpoch, Revision: 105, Value: "{}"})
			s.applied(webUID, 1)
		}, ""},
		{"a recording that begins in the middle", func(s *script) {
			s.found(bucket)
			s.op(record.Op{Bucket: bucket, Key: "pi-1.web", Revision: 1000, Epoch: 400})
			s.op(record.Op{Bucket: bucket, Key: "pi-2.web", Revision: 1010, Missed: 9, Epoch: 400})
		}, ""},
	})
}
