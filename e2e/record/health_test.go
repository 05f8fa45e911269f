package record

import (
	"slices"
	"testing"

	"harmony.dev/fleet"
)

func TestViews_OfBucketsOnly(t *testing.T) {
	h := fleet.Health{Service: fleet.ServicePatcher, Instance: "patcher-1", Sources: []fleet.Source{
		{Name: "deployments", Synced: true, Entries: 3},
		{Name: fleet.BucketResources, Synced: true, Seq: 7, Entries: 5},
		{Name: fleet.BucketDesiredState, Seq: 9, Entries: 1},
	}}
	want := []View{
		{Service: fleet.ServicePatcher, Instance: "patcher-1", Bucket: fleet.BucketResources, Synced: true, Sequence: 7, Entries: 5},
		{Service: fleet.ServicePatcher, Instance: "patcher-1", Bucket: fleet.BucketDesiredState, Sequence: 9, Entries: 1},
	}
	if got := views(h); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
