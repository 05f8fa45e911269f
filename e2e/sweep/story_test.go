package sweep

import (
	"maps"
	"testing"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// What is written twice counts, also when only its times differ; how many states are seen on the way does not.
func TestOperations(t *testing.T) {
	op := func(bucket, key, value string) record.Event {
		return record.Event{Op: &record.Op{Bucket: bucket, Key: key, Kind: record.OpPut, Value: value}}
	}
	write := func(kind record.WriteKind, status string) record.Event {
		return record.Event{Write: &record.Write{Kind: kind, Resource: fleet.KindDeployment, Name: "s007-web", Status: []byte(status)}}
	}
	const pending, at, later = `{"pending":1}`, `{"running":1,"at":"2026-01-01T00:00:00Z"}`, `{"running":1,"at":"2026-01-01T00:00:01Z"}`
	gone := record.Event{Op: &record.Op{Bucket: fleet.BucketDeviceState, Key: "state.s007-0001.s007-web", Kind: record.OpDelete}}
	for name, c := range map[string]struct {
		recording record.Recording
		want      map[string]string
	}{
		"states on the way": {
			record.Recording{write(record.WriteAdded, ""), write(record.WriteModified, pending), write(record.WriteModified, at)},
			map[string]string{"Deployment/story-web": "added"},
		},
		"status written again": {
			record.Recording{write(record.WriteModified, at), write(record.WriteModified, later)},
			map[string]string{"Deployment/story-web": "written again"},
		},
		"only listed again": {
			record.Recording{write(record.WriteModified, at), write(record.WriteListed, at)},
			map[string]string{},
		},
		"wishes, each time": {
			record.Recording{op(fleet.BucketDesiredState, "s007-0001.s007-web", "1"), op(fleet.BucketDesiredState, "s007-0001.s007-web", "2")},
			map[string]string{"desired-state/story-0001.story-web": "put put"},
		},
		"mirror": {
			record.Recording{op(fleet.BucketResources, "deployment.s007-web", "1"), op(fleet.BucketResources, "deployment.s007-web", "2"), op(fleet.BucketResources, "deployment.s007-web", "2")},
			map[string]string{"fleet-resources/deployment.story-web": "written again"},
		},
		"what devices say": {
			record.Recording{op(fleet.BucketDeviceState, "state.s007-0001.s007-web", "1"), op(fleet.BucketDeviceState, "state.s007-0001.s007-web", "1"), gone},
			map[string]string{"device-state/state.story-0001.story-web": "delete"},
		},
		"another story": {
			record.Recording{op(fleet.BucketDesiredState, "s008-0001.s008-web", "1")},
			map[string]string{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (&story{name: "s007"}).operations(c.recording); !maps.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
