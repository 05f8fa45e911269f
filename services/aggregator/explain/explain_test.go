package explain_test

import (
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/explain"
	"harmony.dev/services/aggregator/projection"
)

const hash = "aaaa"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// base is a device that runs a Deployment which selects region north.
func base() explain.Input {
	in := explain.Input{
		Device: projection.Device{
			ID: "pi-07", Registered: true, Known: true, LastSeen: noon,
			Resource: fleet.MirrorDevice{UID: "d", Labels: map[string]string{"region": "north", "tier": "edge"}},
			Info:     &fleet.DeviceInfo{}, InfoAt: projection.Origin{Revision: 1, At: noon},
		},
		Deployment: projection.Deployment{
			Name: "web", Registered: true, UID: "u", Generation: 2,
			Applied:  &fleet.Applied{UID: "u", Generation: 2},
			Selector: fleet.Selector{MatchLabels: map[string]string{"region": "north"}},
		},
		Pair: projection.Pair{Desired: true, Trusted: true, WishUID: "u", Reported: true},
	}
	in.Pair.PairView = fleet.PairView{
		Device: "pi-07", Deployment: "web", Class: fleet.ClassRunning,
		DesiredHash: hash, ObservedHash: hash, Phase: fleet.PhaseRunning, LastEventAt: "2026-03-01T12:00:00Z",
	}
	return in
}

func undesired(in *explain.Input) { in.Pair = projection.Pair{} }

func pending(in *explain.Input) { in.Pair.Class = fleet.ClassPending }

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*explain.Input)
		verdict string
		says    string // in message, facts or next
	}{
		{"runs", func(*explain.Input) {}, explain.Running, "desired hash aaaa"},
		{"failed", func(in *explain.Input) {
			in.Pair.Class, in.Pair.Phase, in.Pair.LastError = fleet.ClassFailed, fleet.PhaseFailed, "no image"
		}, explain.Failed, "no image"},
		{"stale", func(in *explain.Input) {
			in.Device.Stale, in.Pair.Class, in.Pair.LastKnown = true, fleet.ClassStale, fleet.ClassRunning
		}, explain.Stale, "silent since 2026-03-01T12:00:00Z; web was running then"},
		{"pending", func(in *explain.Input) { pending(in); in.Pair.Phase = fleet.PhasePending }, explain.Pending, "still bringing up"},
		{"hash differs", func(in *explain.Input) { pending(in); in.Pair.ObservedHash = "bbbb" }, explain.HashDiffers, "about hash bbbb"},
		{"no report", func(in *explain.Input) {
			pending(in)
			in.Pair.Reported, in.Pair.Phase, in.Pair.ObservedHash = false, "", ""
		}, explain.NoReport, "asked to send its reports again"},
		{"no report of a device never heard of", func(in *explain.Input) {
			pending(in)
			in.Pair.Reported, in.Pair.Phase, in.Pair.ObservedHash = false, "", ""
			in.Device.Known = false
		}, explain.NoReport, "reaches NATS"},
		{"poison report", func(in *explain.Input) {
			pending(in)
			in.Pair.Spoiled, in.Pair.Phase, in.Pair.ObservedHash = true, "", ""
		}, explain.PoisonReport, "malformed and was set aside"},
		{"poison report after a good one", func(in *explain.Input) { in.Pair.Spoiled = true }, explain.Running, "malformed and was set aside"},
		{"foreign wish", func(in *explain.Input) { pending(in); in.Pair.Trusted = false }, explain.Unconfirmed, "not written by the reconciler"},
		{"wish of an earlier uid", func(in *explain.Input) { pending(in); in.Pair.WishUID = "old" }, explain.Unconfirmed, "earlier deployment"},
		{"no match by label", func(in *explain.Input) { undesired(in); in.Device.Resource.Labels["region"] = "south" }, explain.NoMatch, `label region is "south", wanted "north"`},
		{"no match without the label", func(in *explain.Input) { undesired(in); delete(in.Device.Resource.Labels, "region") }, explain.NoMatch, `label region is not set, wanted "north"`},
		{"no match by expression", func(in *explain.Input) {
			undesired(in)
			in.Deployment.Selector.MatchExpressions = []fleet.SelectorRequirement{{Key: "tier", Operator: "NotIn", Values: []string{"edge", "lab"}}}
		}, explain.NoMatch, `label tier is "edge", wanted none of edge, lab`},
		{"selector invalid", func(in *explain.Input) {
			undesired(in)
			in.Deployment.Selector.MatchExpressions = []fleet.SelectorRequirement{{Key: "tier", Operator: "Like"}}
		}, explain.Invalid, "Like"},
		{"deployment invalid", func(in *explain.Input) { undesired(in); in.Deployment.Applied.Invalid = "score type is empty" }, explain.Invalid, "score type is empty"},
		{"held", func(in *explain.Input) {
			undesired(in)
			in.Deployment.Applied.Held, in.Hold = "h1", &fleet.Hold{ID: "h1", Deletes: 12}
		}, explain.Held, "keeps 12 deletes back"},
		{"relabelled, on its way out", func(in *explain.Input) { in.Device.Resource.Labels["region"] = "south" }, explain.Removing, `does not select it any more: label region is "south"`},
		{"relabelled, held", func(in *explain.Input) {
			in.Device.Resource.Labels["region"], in.Hold = "south", &fleet.Hold{ID: "h1", Deletes: 12}
		}, explain.Held, "fleet hold approve h1"},
		{"relabelled, approved", func(in *explain.Input) {
			in.Device.Resource.Labels["region"], in.Hold = "south", &fleet.Hold{ID: "h1", Deletes: 12, Approved: true}
		}, explain.Removing, "approved: true"},
		{"selector edited, beside a hold of others", func(in *explain.Input) {
			in.Deployment.Generation, in.Deployment.Selector.MatchLabels["region"], in.Hold = 3, "south", &fleet.Hold{ID: "h1"}
		}, explain.Removing, `wanted "south"`},
		{"device vanished, held", func(in *explain.Input) {
			in.Device.Registered, in.Hold = false, &fleet.Hold{ID: "h1"}
			in.Device.Resource = fleet.MirrorDevice{Tombstone: &fleet.Tombstone{Cause: fleet.TombstoneVanished}}
		}, explain.Held, "its Device resource is gone"},
		{"device deleted beside a hold", func(in *explain.Input) {
			in.Device.Registered, in.Hold = false, &fleet.Hold{ID: "h1"}
			in.Device.Resource = fleet.MirrorDevice{Tombstone: &fleet.Tombstone{Cause: fleet.TombstoneDeleted}}
		}, explain.NotRegistered, "no Device resource"},
		{"deployment vanished, held", func(in *explain.Input) {
			in.Hold = &fleet.Hold{ID: "h1"}
			in.Deployment = projection.Deployment{Name: "web", Tombstone: &fleet.Tombstone{Cause: fleet.TombstoneVanished}}
		}, explain.Held, "keeps web: there is no deployment web any more"},
		{"deselected by an edit that makes it invalid: it stays", func(in *explain.Input) {
			in.Deployment.Generation, in.Deployment.Selector.MatchLabels["region"] = 3, "south"
			in.Deployment.Applied.Invalid, in.Deployment.Applied.Generation, in.Hold = "score type is empty", 3, &fleet.Hold{ID: "h1"}
		}, explain.Running, `wanted "south"`},
		{"deployment deleting, its device vanished: passes the brake", func(in *explain.Input) {
			in.Deployment.Deleting, in.Device.Registered, in.Hold = true, false, &fleet.Hold{ID: "h1"}
			in.Device.Resource = fleet.MirrorDevice{Tombstone: &fleet.Tombstone{Cause: fleet.TombstoneVanished}}
		}, explain.DeploymentDeleting, "being deleted"},
		{"device quarantined, its deployment vanished: passes the brake", func(in *explain.Input) {
			in.Device.Resource.Quarantined, in.Hold = true, &fleet.Hold{ID: "h1"}
			in.Deployment = projection.Deployment{Name: "web", Tombstone: &fleet.Tombstone{Cause: fleet.TombstoneVanished}}
		}, explain.NoDeployment, "vanished"},
		{"not applied yet", func(in *explain.Input) { undesired(in); in.Deployment.Applied = nil }, explain.Applying, "none applied"},
		{"quarantined", func(in *explain.Input) { undesired(in); in.Device.Resource.Quarantined = true }, explain.Quarantined, "quarantine"},
		{"device invalid", func(in *explain.Input) {
			undesired(in)
			in.Device.Resource = fleet.MirrorDevice{UID: "d", Invalid: "it has no finalizer yet"}
		}, explain.DeviceInvalid, "no finalizer yet"},
		{"device invalid, kept running", func(in *explain.Input) {
			in.Device.Resource = fleet.MirrorDevice{UID: "d", Invalid: "it has no finalizer yet"}
		}, explain.Running, "cannot be mirrored: it has no finalizer yet"},
		{"device deleting", func(in *explain.Input) { in.Device.Resource.Deleting = true }, explain.DeviceDeleting, "being deleted"},
		{"deployment deleting", func(in *explain.Input) { in.Deployment.Deleting = true }, explain.DeploymentDeleting, "being deleted"},
		{"no such deployment", func(in *explain.Input) { in.Deployment = projection.Deployment{Name: "web"} }, explain.NoDeployment, "no deployment web"},
		{"deployment gone", func(in *explain.Input) {
			in.Deployment = projection.Deployment{Name: "web", Tombstone: &fleet.Tombstone{Cause: fleet.TombstoneVanished}}
		}, explain.NoDeployment, "vanished"},
		{"unknown device", func(in *explain.Input) { in.Device = projection.Device{ID: "pi-07"}; undesired(in) }, explain.NotRegistered, "never been heard of"},
		{"device without info", func(in *explain.Input) { in.Device.Registered, in.Device.Info = false, nil }, explain.NotRegistered, "no info"},
		{"device with malformed info", func(in *explain.Input) {
			in.Device.Registered, in.Device.Info, in.Device.InfoSpoiled = false, nil, true
		}, explain.NotRegistered, "info.pi-07"},
		{"device deleted before", func(in *explain.Input) {
			in.Device.Registered = false
			in.Device.Resource = fleet.MirrorDevice{Tombstone: &fleet.Tombstone{}}
			in.Device.ResourceAt.At = noon.Add(time.Minute)
		}, explain.NotRegistered, "was deleted"},
		{"device about to be registered", func(in *explain.Input) { in.Device.Registered = false }, explain.NotRegistered, "yet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := base()
			c.change(&in)
			got := explain.Explain(in)
			if got.Verdict != c.verdict {
				t.Errorf("verdict %s, want %s: %s", got.Verdict, c.verdict, got.Message)
			}
			all := strings.Join(append(got.Facts, got.Message, got.Next), "\n")
			if !strings.Contains(all, c.says) {
				t.Errorf("nowhere %q in\n%s", c.says, all)
			}
			if got.Verdict != explain.Running && got.Verdict != explain.NoDeployment && got.Next == "" {
				t.Error("it does not say what to do next")
			}
			if (got.Pair != nil) != (in.Pair.Desired || in.Pair.Reported) {
				t.Errorf("pair %v", got.Pair)
			}
		})
	}
}
