package fault

import (
	"slices"
	"testing"

	"harmony.dev/e2e/lab"
	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// TestLoser names what each fault near a bucket takes from it without a trace. What is not a [Loser] writes, cuts or
// kills only: the checkers go on judging the bucket.
func TestLoser(t *testing.T) {
	const bucket = fleet.BucketDesiredState
	for _, c := range []struct {
		fault Fault
		want  []string
	}{
		{StreamDelete(bucket), []string{bucket}},
		{StreamPurge(bucket), []string{bucket}},
		{StreamRecreate{Buckets: []string{bucket, fleet.BucketLeases}}, []string{bucket, fleet.BucketLeases}},
		{StoreRollback{Buckets: []string{bucket}}, []string{bucket}},
		{StoreWipe{}, record.Buckets()},
		{LostKeys{Bucket: bucket, Traceless: true}, []string{bucket}},
		{LostKeys{Bucket: bucket}, nil},
		{&RawWrite{Bucket: bucket}, nil},
		{&WriteStorm{Bucket: bucket}, nil},
		{&ReportStorm{}, nil},
		{ReplayCut{Instance: &lab.Instance{}, Bucket: bucket}, nil},
		{ReplayKill{Instance: &lab.Instance{}, Bucket: bucket}, nil},
		{KillNATS{}, nil},
		{NodeStop(0), nil},
	} {
		if got := losses(c.fault); !slices.Equal(got, c.want) {
			t.Errorf("%s loses %v, want %v", c.fault.Name(), got, c.want)
		}
	}
}
