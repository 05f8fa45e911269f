package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The golden files are messages as this and earlier versions wrote them. Each must decode for ever, with
// nothing of it lost. "go test -run Golden -update" writes the files of new cases and touches no other.
var update = flag.Bool("update", false, "write the golden files of new cases")

const goldenDir = "testdata/golden/v1"

// goldenCase is one message. The file is named after the Go type, so that a file whose case was
// rewritten still finds its decoder: "Report.failed.json".
type goldenCase struct {
	name  string // of the case: "failed"
	value any
}

func (c goldenCase) file() string {
	return reflect.TypeOf(c.value).Name() + "." + c.name + ".json"
}

func goldenCases() []goldenCase {
	var (
		at     = time.Date(2026, 3, 4, 5, 6, 7, 890_000_000, time.UTC)
		uid    = "0d6f1b1e-3f63-4c0e-9a55-6b8f2d1f7a10"
		hash   = Hash([]byte("a"))
		score  = Score{Type: "container", Data: json.RawMessage(`{"image":"registry.example/web:1.2","args":["--a<b","é\u2028"],"ratio":1.0}`)}
		sel    = Selector{MatchLabels: map[string]string{"region": "north"}, MatchExpressions: []SelectorRequirement{{Key: "arch", Operator: "In", Values: []string{"arm64", "amd64"}}}}
		sender = Sender{Service: ServiceAggregator, Epoch: 1772600767890123}
		fresh  = Freshness{AsOf: at, Synced: true}
		page   = Page{Limit: 50, After: "pi-06"}
		hold   = Hold{ID: "h-42", UpTo: 1772600767890456, Approved: true, Deletes: 30, Keys: 120}
		agg    = Aggregate{
			MatchedDeviceCount: 120, Running: 110, Failed: 1, Pending: 2, Stale: 7,
			StaleLastKnown: StaleLastKnown{Running: 6, Failed: 1},
			LastError:      &LastError{Device: "pi-07", Message: "pull: no space left", At: at},
		}
		status = DeploymentStatus{ObservedGeneration: 3, Aggregate: agg, Conditions: []Condition{
			{Type: ConditionReady, Status: ConditionFalse, Reason: ReasonPending, Message: "2 of 120 devices are pending", ObservedGeneration: 3},
			{Type: ConditionReconciling, Status: ConditionTrue, Reason: ReasonPending, Message: "2 of 120 devices are pending", ObservedGeneration: 3, LastTransitionTime: &at},
			{Type: ConditionStalled, Status: ConditionFalse, Reason: ReasonNotStalled, ObservedGeneration: 3},
		}}
		deviceStatus = DeviceStatus{State: DeviceStale, LastSeen: &at, Inventory: map[string]string{"model": "Raspberry Pi 5"}, AgentVersion: "v0.1.0"}
		labels       = map[string]string{"region": "north", "example.com/rack": ""}
		deployment   = DeploymentView{Name: "web", UID: uid, Generation: 3, Deleting: true, TargetSelector: sel, ScoreType: "container", Status: status}
		device       = DeviceView{Name: "pi-07", UID: uid, Registered: true, State: DeviceStale, LastSeen: &at, Labels: labels, Inventory: deviceStatus.Inventory, Agent: "v0.1.0", Deleting: true, Quarantined: true, Deployments: 2}
		pair         = PairView{Device: "pi-07", Deployment: "web", Class: ClassStale, LastKnown: ClassFailed, DesiredHash: hash, ObservedHash: hash, Phase: PhaseFailed, LastEventAt: "2026-03-04T05:06:07Z", LastError: "exit 1"}
		tombstone    = &Tombstone{UID: uid, Cause: TombstoneDeleted, At: at}
		explanation  = Explanation{Verdict: "Stale", Message: "pi-07 is silent", Facts: []string{"last seen 5 min ago"}, Next: "look at the device", Pair: &pair}
	)
	return []goldenCase{
		{"score", Desired{UID: uid, Score: score}},
		{"bare", Desired{UID: uid, Score: Score{Type: "noop"}}},
		{"null-data", Desired{UID: uid, Score: Score{Type: "noop", Data: json.RawMessage("null")}}},
		{"numbers", Desired{UID: uid, Score: Score{Type: "n", Data: json.RawMessage(`[0,-0,1.0,1e400,0.1E-7,12345678901234567890123]`)}}},
		{"strings", Desired{UID: uid, Score: Score{Type: "s", Data: json.RawMessage(`{"\u0000":"\b\f\n\r\t\u001f\u007f","<&>":"\"\\\/","é":"\u00e9\u2028\u2029","😀":"\ud83d\ude00","":""}`)}}},

		{"running", Report{Phase: PhaseRunning, ObservedHash: hash, LastEventAt: "2026-03-04T05:06:07.89+01:00"}},
		{"failed", Report{Phase: PhaseFailed, ObservedHash: hash, LastEventAt: "2026-03-04T05:06:07Z", LastError: "pull \"web\": <no space>\n"}},
		{"pending", Report{Phase: PhasePending, ObservedHash: hash, LastEventAt: "0001-01-01T00:00:00Z"}},
		{"full", DeviceInfo{Labels: labels, Inventory: deviceStatus.Inventory, AgentVersion: "v0.1.0"}},
		{"empty", DeviceInfo{}},
		{"at", Heartbeat{At: "2026-03-04T05:06:07Z"}},
		{"empty", Heartbeat{}},

		{"live", MirrorDeployment{UID: uid, Generation: 3, TargetSelector: sel, Score: score}},
		{"deleting", MirrorDeployment{UID: uid, Generation: 4, Score: Score{Type: "noop"}, Deleting: true}},
		{"tombstone", MirrorDeployment{Tombstone: tombstone}},
		{"invalid", MirrorDeployment{UID: uid, Generation: 5, Invalid: "it cannot be mirrored: 614436 bytes, at most 524288"}},
		{"live", MirrorDevice{UID: uid, Generation: 1, Labels: labels, Reported: labels, Status: deviceStatus, Quarantined: true}},
		{"deleting", MirrorDevice{UID: uid, Generation: 2, Deleting: true}},
		{"invalid", MirrorDevice{UID: uid, Generation: 3, Invalid: "it has no finalizer fleet.harmony.dev/desired-state yet"}},
		{"tombstone", MirrorDevice{Tombstone: &Tombstone{UID: uid, Cause: TombstoneVanished, At: at}}},
		{"epoch", Synced{Epoch: 1772600767890123}},
		{"applied", Applied{UID: uid, Generation: 3}},
		{"invalid-held", Applied{UID: uid, Generation: 3, Invalid: "score type is empty", Held: "h-42"}},
		{"approved", hold},
		{"instance", LeaseRecord{Instance: "reconciler-0"}},
		{"instance", EpochRecord{Instance: "reconciler-0", Lease: 1772600767890111}},
		{"term", LeaseRecord{Instance: "reconciler-0", Term: "XqZ0aYhLJ2tWkPfY9dV3Rb"}},
		{"term", EpochRecord{Instance: "reconciler-0", Lease: 1772600767890111, Term: "XqZ0aYhLJ2tWkPfY9dV3Rb"}},

		{"first", SnapshotRequest{Digest: hash}},
		{"page", SnapshotRequest{After: "web"}},
		{"page", Snapshot{AsOf: 1772600767890200, Complete: true, Entries: []SnapshotEntry{{Deployment: "web", Sequence: 1772600767890199, Value: []byte(`{"score":{"type":"noop"},"uid":"u"}`)}}, Next: "web"}},
		{"unchanged", Snapshot{AsOf: 1772600767890200, Complete: true, Unchanged: true, Entries: []SnapshotEntry{}}},

		{"full", StatusApplyRequest{Sender: sender, Deployment: "web", UID: uid, Generation: 3, Seq: 17, Status: status}},
		{"create", DeviceApplyRequest{Sender: sender, Device: "pi-07", Labels: labels}},
		{"update", DeviceApplyRequest{Sender: sender, Device: "pi-07", UID: uid, Labels: labels, Status: deviceStatus}},
		{"device", FinalizerReleaseRequest{Sender: sender, Kind: KindDevice, Name: "pi-07", UID: uid, Finalizer: FinalizerDeviceData}},
		{"patched", ApplyResponse{Result: ResultPatched}},
		{"warning", EventRecordRequest{Sender: sender, Kind: KindDeployment, Name: "web", UID: uid, Type: "Warning", Reason: "Held", Message: "30 deletes wait for approval"}},
		{"empty", EventRecordResponse{}},

		{"page", DeploymentsListRequest{Page: page}},
		{"page", DeploymentsListResponse{Freshness: Freshness{AsOf: at, Reason: "device-state: rebuilding"}, Items: []DeploymentView{deployment}, Next: "web"}},
		{"name", GetRequest{Name: "web"}},
		{"full", DeploymentsGetResponse{Freshness: fresh, Deployment: deployment, Pairs: []PairView{pair}, Truncated: true}},
		{"changes", DeploymentsGetResponse{Freshness: fresh, Deployment: deployment, Pairs: []PairView{}, Changes: []Change{{At: at, Kind: ChangeReported, Device: "pi-07", Phase: PhaseFailed}, {At: at, Kind: ChangeApplied, Generation: 3}}}},
		{"failing", DevicesListRequest{Class: ClassFailed}},
		{"filtered", DevicesListRequest{Page: page, State: DeviceStale, Selector: &sel, Deployment: "web"}},
		{"page", DevicesListResponse{Freshness: fresh, Items: []DeviceView{device}, Next: "pi-07", Total: 120}},
		{"full", DevicesGetResponse{Freshness: fresh, Device: device, Pairs: []PairView{pair}}},
		{"stamps", DevicesGetResponse{Freshness: fresh, Device: device, HeartbeatAt: &at, InfoAt: &at, StaleAfterSeconds: 90, Pairs: []PairView{}}},
		{"page", SelectorMatchRequest{Page: page, Selector: &sel}},
		{"page", SelectorMatchResponse{Freshness: fresh, Devices: []DeviceID{"pi-07"}, Next: "pi-07", Total: 120}},
		{"pair", DeviceExplainRequest{Device: "pi-07", Deployment: "web"}},
		{"stale", DeviceExplainResponse{Freshness: fresh, Explanation: explanation}},
		{"page", DeviceVerdictsRequest{Page: page, Device: "pi-07"}},
		{"page", DeviceVerdictsResponse{Freshness: fresh, Items: []DeviceVerdict{{Deployment: "web", Explanation: explanation}}, Next: "web", Total: 120}},
		{"name", DeploymentExplainRequest{Deployment: "web"}},
		{"full", DeploymentExplainResponse{
			Freshness: fresh, Deployment: deployment, Hold: &hold,
			Groups: []VerdictGroup{{Verdict: "NoMatch", Reason: "label region is not set, wanted \"north\"", Next: "set it", Count: 7, Devices: []DeviceID{"pi-07"}}},
		}},
		{"after", DevicesSummaryRequest{After: "pi-06"}},
		{"page", DevicesSummaryResponse{Freshness: fresh, Items: []DeviceSummary{{Name: "pi-07", State: DeviceStale, Class: ClassStale}, {Name: "pi-08", State: DeviceFresh}}, Next: "pi-08", Total: 120}},

		{"candidate", PlanShowRequest{Deployment: "web", Candidate: &Candidate{TargetSelector: sel, Score: score}}},
		{"full", PlanShowResponse{
			Freshness: fresh, PutCount: 1, DeleteCount: 2, HeldCount: 1, WaitCount: 1,
			Puts: []string{"pi-07.web"}, Deletes: []PlanDelete{{Key: "pi-08.web", Cause: CauseVanished, Held: true}, {Key: "pi-09.web", Cause: CauseRelabelled, Wait: true}},
			Gained: []DeviceID{"pi-07"}, Lost: []DeviceID{"pi-08"}, Invalid: []PlanInvalid{{Deployment: "db", Message: "score type is empty"}}, Hold: &hold,
		}},
		{"counts", PlanShowResponse{
			Freshness: fresh, PutCount: 1, DeleteCount: 1, Puts: []string{"pi-07.web"}, Deletes: []PlanDelete{{Key: "pi-08.web", Cause: CauseEdited}},
			Gained: []DeviceID{"pi-07"}, Lost: []DeviceID{"pi-08"}, GainedCount: 1, LostCount: 1, InvalidCount: 1, KeyCount: 7, Candidate: CandidateChanged,
		}},
		{"page", TargetsListRequest{Page: page, Deployment: "web"}},
		{"page", TargetsListResponse{Freshness: fresh, Devices: []DeviceID{"pi-07"}, Next: "pi-07", Total: 120}},
		{"id", HoldApproveRequest{ID: "h-42"}},
		{"approved", HoldApproveResponse{Hold: hold}},
		{"full", Health{
			Service: ServiceReconciler, Instance: "reconciler-0", Version: "v0.1.0", Fleet: "fleet", State: StateHeld, Ready: true,
			Reasons:   []Reason{{Reason: "Held", Message: "30 deletes wait for approval"}},
			Lease:     &LeaseHealth{Bucket: BucketDesiredState, Held: true, Holder: "reconciler-0", Epoch: 1772600767890123},
			Sources:   []Source{{Name: BucketResources, Synced: true, Pass: 2, Done: 10, Total: 10, Entries: 9, Seq: 1772600767890456, Poison: 1, Set: []Poison{{Bucket: BucketResources, Key: "device.PI", Revision: 1772600767890400, Error: "illegal key", Kept: true}}, Reason: "mirror without _synced"}},
			StartedAt: at, AsOf: at,
		}},
		{"not-found", Error{Reason: "NotFound", Message: "there is no Deployment web", ErrorID: "e-1"}},
	}
}

// strict decoders of the values that have one; all other types decode as encoding/json has it.
func goldenDecoder(typeName string) func([]byte) (any, error) {
	switch typeName {
	case "Desired":
		return func(b []byte) (any, error) { return DecodeDesired(b) }
	case "Report":
		return func(b []byte) (any, error) { return DecodeReport(b) }
	case "DeviceInfo":
		return func(b []byte) (any, error) { return DecodeInfo(b) }
	case "Heartbeat":
		return func(b []byte) (any, error) { return DecodeHeartbeat(b) }
	case "MirrorDeployment":
		return func(b []byte) (any, error) { return DecodeMirrorDeployment(b) }
	case "MirrorDevice":
		return func(b []byte) (any, error) { return DecodeMirrorDevice(b) }
	case "Synced":
		return func(b []byte) (any, error) { return DecodeSynced(b) }
	case "Applied":
		return func(b []byte) (any, error) { return DecodeApplied(b) }
	case "Hold":
		return func(b []byte) (any, error) { return DecodeHold(b) }
	case "LeaseRecord":
		return func(b []byte) (any, error) { return DecodeLease(b) }
	case "EpochRecord":
		return func(b []byte) (any, error) { return DecodeEpoch(b) }
	}
	for _, c := range goldenCases() {
		if t := reflect.TypeOf(c.value); t.Name() == typeName {
			return func(b []byte) (any, error) {
				v := reflect.New(t)
				dec := json.NewDecoder(bytes.NewReader(b))
				dec.DisallowUnknownFields()
				err := dec.Decode(v.Interface())
				return v.Elem().Interface(), err
			}
		}
	}
	return nil
}

func goldenEncode(v any) ([]byte, error) {
	if d, ok := v.(Desired); ok {
		return EncodeDesired(d)
	}
	return marshal(v)
}

func TestGolden_EveryCaseIsWritten(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range goldenCases() {
		if seen[c.file()] {
			t.Fatalf("two cases named %s", c.file())
		}
		seen[c.file()] = true
		b, err := goldenEncode(c.value)
		if err != nil {
			t.Fatalf("%s: %v", c.file(), err)
		}
		if err := writeGolden(filepath.Join(goldenDir, c.file()), b); err != nil {
			t.Error(err)
		}
	}
}

// writeGolden compares, or with -update writes what is not there yet. It never changes a file.
func writeGolden(path string, want []byte) error {
	stored, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && *update:
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, want, 0o644)
	case err != nil:
		return fmt.Errorf("golden file of a case (go test -run Golden -update writes new ones): %w", err)
	case !bytes.Equal(stored, want):
		return fmt.Errorf("%s holds other bytes than its case encodes to now; golden files never change: give the case another name\nstored %s\n   now %s", path, stored, want)
	}
	return nil
}

func TestGolden_DecodesForEver(t *testing.T) {
	files, err := filepath.Glob(goldenDir + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			stored, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			typeName, _, _ := strings.Cut(name, ".")
			decoder := goldenDecoder(typeName)
			if decoder == nil {
				t.Fatalf("no decoder for type %s", typeName)
			}
			v, err := decoder(stored)
			if err != nil {
				t.Fatalf("decode: %v", err)
			}
			again, err := goldenEncode(v)
			if err != nil {
				t.Fatalf("encode again: %v", err)
			}
			if _, ok := v.(Desired); ok && !bytes.Equal(stored, again) {
				t.Fatalf("canonical bytes changed\nstored %s\n   now %s", stored, again)
			}
			if lost := lostFrom(t, stored, again); lost != "" {
				t.Fatalf("decoding lost %s\nstored %s\n   now %s", lost, stored, again)
			}
		})
	}
}

// lostFrom returns the path of something in the first document that the second lacks or has otherwise.
// The second may have more: fields that are newer than the file.
func lostFrom(t *testing.T, old, now []byte) string {
	t.Helper()
	parse := func(b []byte) (v any) {
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	return lost("$", parse(old), parse(now))
}

func lost(path string, old, now any) string {
	switch old := old.(type) {
	case map[string]any:
		now, ok := now.(map[string]any)
		if !ok {
			return path
		}
		for k, v := range old {
			if p := lost(path+"."+k, v, now[k]); p != "" {
				return p
			}
		}
		return ""
	case []any:
		now, ok := now.([]any)
		if !ok || len(old) != len(now) {
			return path
		}
		for i, v := range old {
			if p := lost(fmt.Sprintf("%s[%d]", path, i), v, now[i]); p != "" {
				return p
			}
		}
		return ""
	}
	if !reflect.DeepEqual(old, now) {
		return path
	}
	return ""
}

// A changed hash would redeploy every fleet. These never change; new ones may be added.
func TestGolden_DesiredHashes(t *testing.T) {
	want := map[string]string{
		"Desired.bare.json":      "e8e1c5be28b9ecfd0adb3bf4c60e76c13bdb97f6d4296bf4cec27e783ccc3caa",
		"Desired.null-data.json": "65da7c6361ae361372ba964776bc96847ff7c00a02accc26f3ed25acf7c422e8",
		"Desired.numbers.json":   "c5678120a477b747b16439d25ac166f0a83d03beccc6a57cc445142fa86c9afc",
		"Desired.score.json":     "e2737622d56d866a7b9dbb2ed700fad294e57b5ffe1d5b4af4d1e39ca47bbb8a",
		"Desired.strings.json":   "7d57b7d610184c437b1a32458561531ff7746feecdb8f06cc351dda09b67e5a5",
	}
	files, err := filepath.Glob(goldenDir + "/Desired.*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		if got := Hash(b); got != want[name] {
			t.Errorf("%q: %q, want %q", name, got, want[name])
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("golden file %s is gone", name)
	}
}

// Every type that an endpoint takes or gives has a golden message.
func TestGolden_CoversEveryEndpoint(t *testing.T) {
	wire := map[string][2]any{
		DeploymentsList.Subject:   {DeploymentsListRequest{}, DeploymentsListResponse{}},
		DeploymentsGet.Subject:    {GetRequest{}, DeploymentsGetResponse{}},
		DevicesList.Subject:       {DevicesListRequest{}, DevicesListResponse{}},
		DevicesGet.Subject:        {GetRequest{}, DevicesGetResponse{}},
		SelectorMatch.Subject:     {SelectorMatchRequest{}, SelectorMatchResponse{}},
		DeviceExplain.Subject:     {DeviceExplainRequest{}, DeviceExplainResponse{}},
		DeviceVerdicts.Subject:    {DeviceVerdictsRequest{}, DeviceVerdictsResponse{}},
		DeploymentExplain.Subject: {DeploymentExplainRequest{}, DeploymentExplainResponse{}},
		DevicesSummary.Subject:    {DevicesSummaryRequest{}, DevicesSummaryResponse{}},
		PlanShow.Subject:          {PlanShowRequest{}, PlanShowResponse{}},
		TargetsList.Subject:       {TargetsListRequest{}, TargetsListResponse{}},
		HoldApprove.Subject:       {HoldApproveRequest{}, HoldApproveResponse{}},
		StatusApply.Subject:       {StatusApplyRequest{}, ApplyResponse{}},
		DeviceApply.Subject:       {DeviceApplyRequest{}, ApplyResponse{}},
		FinalizerRelease.Subject:  {FinalizerReleaseRequest{}, ApplyResponse{}},
		EventRecord.Subject:       {EventRecordRequest{}, EventRecordResponse{}},
		DesiredSubjects:           {SnapshotRequest{}, Snapshot{}},
	}
	for _, service := range Services() {
		wire[HealthEndpoint(service).Subject] = [2]any{struct{}{}, Health{}}
	}
	covered := map[reflect.Type]bool{reflect.TypeFor[struct{}](): true}
	for _, c := range goldenCases() {
		covered[reflect.TypeOf(c.value)] = true
	}
	for _, ep := range Endpoints() {
		if _, ok := wire[ep.Subject]; !ok {
			t.Errorf("endpoint %s has no entry here", ep.Subject)
		}
	}
	for subject, types := range wire {
		for _, v := range types {
			if !covered[reflect.TypeOf(v)] {
				t.Errorf("%s: %T has no golden message", subject, v)
			}
		}
	}
}
