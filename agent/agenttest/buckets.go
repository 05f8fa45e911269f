package agenttest

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// Buckets are those that agents write.
type Buckets struct {
	t  testing.TB
	nc *nats.Conn
}

// NewBuckets creates them.
func NewBuckets(t testing.TB, nc *nats.Conn) Buckets {
	t.Helper()
	for _, name := range []string{fleet.BucketDeviceInfo, fleet.BucketDeviceState, fleet.BucketDeviceHeartbeat} {
		ensure(t, nc, name)
	}
	return Buckets{t, nc}
}

// Last returns the last value of a key and its revision: 0 when there is none, or no connection.
func (b Buckets) Last(bucket, key string) ([]byte, uint64) {
	b.t.Helper()
	request := fmt.Appendf(nil, `{"last_by_subj":%q}`, fleet.KeySubject(bucket, key))
	m, err := b.nc.Request("$JS.API.STREAM.MSG.GET."+fleet.StreamName(bucket), request, Wait)
	if err != nil {
		return nil, 0
	}
	var answer struct {
		Message struct {
			Seq  uint64 `json:"seq"`
			Data []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		b.t.Fatal(err)
	}
	return answer.Message.Data, answer.Message.Seq
}

// Revision returns the revision of a key, 0 when there is none.
func (b Buckets) Revision(bucket, key string) uint64 {
	b.t.Helper()
	_, seq := b.Last(bucket, key)
	return seq
}

// Info returns what a device says of itself.
func (b Buckets) Info(d fleet.DeviceID) (fleet.DeviceInfo, bool) {
	b.t.Helper()
	value, _ := b.Last(fleet.BucketDeviceInfo, fleet.InfoKey(d))
	info, err := fleet.DecodeInfo(value)
	return info, err == nil
}

// Report returns the last report on a pair, the zero Report when there is none.
func (b Buckets) Report(p fleet.Pair) fleet.Report {
	b.t.Helper()
	value, seq := b.Last(fleet.BucketDeviceState, fleet.StateKey(p))
	if seq == 0 {
		return fleet.Report{}
	}
	r, err := fleet.DecodeReport(value)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// WantReport waits for a report on a value and returns it.
func (b Buckets) WantReport(p fleet.Pair, phase fleet.Phase, hash string) fleet.Report {
	b.t.Helper()
	var r fleet.Report
	fleettest.Eventually(b.t, Wait, fmt.Sprintf("%s is reported as %s", p, phase), func() bool {
		r = b.Report(p)
		return r.Phase == phase && r.ObservedHash == hash
	})
	return r
}

// Count returns how many keys a bucket has.
func (b Buckets) Count(bucket string) int {
	b.t.Helper()
	m, err := b.nc.Request("$JS.API.STREAM.INFO."+fleet.StreamName(bucket), nil, Wait)
	if err != nil {
		return 0
	}
	var answer struct {
		State struct {
			Subjects int `json:"num_subjects"`
		} `json:"state"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		b.t.Fatal(err)
	}
	return answer.State.Subjects
}
