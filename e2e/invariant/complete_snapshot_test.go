package invariant

import (
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

func TestCompleteSnapshot(t *testing.T) {
	const bucket = fleet.BucketDeviceState // of which settled has two keys
	tells := func(s *script, v record.View) {
		v.Service, v.Instance, v.Sequence = fleet.ServiceAggregator, "aggregator-1", s.revision[v.Bucket]
		s.add(record.Event{View: &v})
	}
	says := func(s *script, entries int) { tells(s, record.View{Bucket: bucket, Synced: true, Entries: entries}) }
	remove := func(s *script) { s.op(record.Op{Bucket: bucket, Key: "state.pi-1.web", Kind: record.OpDelete}) }
	judged(t, completeSnapshot, []example{
		{"one is missing", func(s *script) { says(s, 1); s.rest() }, "aggregator-1 has 1 keys of device-state in view at sequence 102, there are 2"},
		{"one too many", func(s *script) { says(s, 3); s.rest() }, "has 3 keys"},
		{"said long ago, and that it is so still", func(s *script) {
			says(s, 1)
			s.after(time.Minute)
			tells(s, record.View{Bucket: fleet.BucketDeviceHeartbeat, Synced: true, Entries: 3})
			s.rest()
		}, "has 1 keys"},
		{"a key that is gone is in view", func(s *script) { remove(s); says(s, 2); s.rest() }, "has 2 keys of device-state in view at sequence 103, there are 1"},
		{"a key that came and went is in view", func(s *script) {
			s.put(bucket, "state.pi-3.web", "x")
			s.op(record.Op{Bucket: bucket, Key: "state.pi-3.web", Kind: record.OpDelete})
			says(s, 3)
			s.rest()
		}, "has 3 keys of device-state in view at sequence 104, there are 2"},
		{"an illegal key counts", func(s *script) { s.put(bucket, "bad!key", "x"); says(s, 2); s.rest() }, "there are 3"},
		{"book-keeping changes nothing", func(s *script) { s.put(bucket, "_mark", "x"); says(s, 3); s.rest() }, "has 3 keys"},
		{"only what it said last", func(s *script) { says(s, 0); says(s, 1); s.rest() }, "has 1 keys"},

		{"all are in view", func(s *script) { says(s, 2); s.rest(); says(s, 2) }, ""},
		{"said after the rest, as a key may be purged", func(s *script) { s.rest(); says(s, 1) }, ""},
		{"said long ago, and nothing since", func(s *script) { says(s, 1); s.after(2 * time.Second).rest() }, ""},
		{"not in step", func(s *script) { tells(s, record.View{Bucket: bucket, Entries: 1}); s.rest() }, ""},
		{"of heartbeats", func(s *script) { tells(s, record.View{Bucket: fleet.BucketDeviceHeartbeat, Synced: true}); s.rest() }, ""},
		{"a view that lies behind", func(s *script) { says(s, 2); remove(s); s.rest() }, ""},
		{"a view ahead of the picture", func(s *script) {
			s.rest()
			rest := s.rec[len(s.rec)-1]
			s.rec = s.rec[:len(s.rec)-1]
			s.put(bucket, "state.pi-3.web", "x")
			says(s, 3)
			s.add(rest)
		}, ""},
		{"what followed the last key was not seen", func(s *script) {
			s.op(record.Op{Bucket: bucket, Key: "_mark", Missed: 1})
			says(s, 3)
			s.rest()
		}, ""},
		{"not at rest", func(s *script) { says(s, 1); s.restReady(false) }, ""},
		{"a key was lost meanwhile", func(s *script) {
			says(s, 3)
			s.fault("lost-keys", "device-state: state.pi-3.web", bucket)
			s.rest()
		}, ""},
		{"another incarnation", func(s *script) {
			says(s, 1)
			s.after(time.Minute).found(bucket)
			s.put(bucket, "state.pi-1.web", "x")
			s.put(bucket, "state.pi-2.web", "x")
			s.after(10 * time.Second)
			tells(s, record.View{Bucket: fleet.BucketDeviceHeartbeat, Synced: true})
			s.rest()
		}, ""},
	})
}
