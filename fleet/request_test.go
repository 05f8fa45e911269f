package fleet

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

type validator interface{ Validate() error }

func TestRequests_Validate(t *testing.T) {
	sender := Sender{Service: ServiceReconciler, Epoch: 1}
	counts := DeploymentStatus{Aggregate: Aggregate{MatchedDeviceCount: 4, Running: 1, Pending: 1, Stale: 2, StaleLastKnown: StaleLastKnown{Running: 1, Failed: 1}}}
	for _, good := range []validator{
		Page{},
		Page{Limit: MaxLimit},
		DeploymentsListRequest{},
		SelectorMatchRequest{Selector: &Selector{}},
		GetRequest{Name: "web"},
		DevicesListRequest{State: DeviceStale, Deployment: "web"},
		DevicesListRequest{},
		DeviceExplainRequest{Device: "pi-07", Deployment: "web"},
		PlanShowRequest{},
		PlanShowRequest{Deployment: "web"},
		TargetsListRequest{Deployment: "web"},
		HoldApproveRequest{ID: "h"},
		SnapshotRequest{},
		SnapshotRequest{After: "web"},
		SnapshotRequest{Digest: aHash},
		StatusApplyRequest{Sender: sender, Deployment: "web", UID: "u"},
		StatusApplyRequest{Sender: sender, Deployment: "web", UID: "u", Status: counts},
		DeviceApplyRequest{Sender: sender, Device: "pi-07"},
		DeviceApplyRequest{Sender: sender, Device: "pi-07", UID: "u", Labels: map[string]string{"a": ""}},
		FinalizerReleaseRequest{Sender: sender, Kind: KindDeployment, Name: "web", UID: "u", Finalizer: FinalizerDesiredState},
		FinalizerReleaseRequest{Sender: sender, Kind: KindDevice, Name: "pi-07", UID: "u", Finalizer: FinalizerDeviceData},
		EventRecordRequest{Sender: sender, Kind: KindDevice, Name: "pi-07", Type: "Normal", Reason: "Registered"},
	} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []validator{
		Page{Limit: -1},
		Page{Limit: MaxLimit + 1},
		DeploymentsListRequest{Page{Limit: -1}},
		SelectorMatchRequest{Page: Page{Limit: -1}},
		GetRequest{},
		GetRequest{Name: "a.b"},
		DevicesListRequest{State: "stale"},
		DevicesListRequest{Deployment: "*"},
		DevicesListRequest{Page: Page{Limit: -1}},
		DeviceExplainRequest{Device: "pi-07"},
		DeviceExplainRequest{Deployment: "web"},
		PlanShowRequest{Deployment: ">"},
		TargetsListRequest{},
		TargetsListRequest{Deployment: "web", Page: Page{Limit: -1}},
		HoldApproveRequest{},
		SnapshotRequest{After: "A"},
		SnapshotRequest{Digest: "x"},
		StatusApplyRequest{Deployment: "web", UID: "u"},
		StatusApplyRequest{Sender: sender, UID: "u"},
		StatusApplyRequest{Sender: sender, Deployment: "web"},
		StatusApplyRequest{Sender: sender, Deployment: "web", UID: "u", Status: DeploymentStatus{Aggregate: Aggregate{Running: 1}}},
		StatusApplyRequest{Sender: Sender{Service: ServicePatcher, Epoch: 1}, Deployment: "web", UID: "u"},
		StatusApplyRequest{Sender: Sender{Service: ServiceReconciler}, Deployment: "web", UID: "u"},
		DeviceApplyRequest{Device: "pi-07"},
		DeviceApplyRequest{Sender: sender},
		DeviceApplyRequest{Sender: sender, Device: "pi-07", UID: "u v"},
		DeviceApplyRequest{Sender: sender, Device: "pi-07", Labels: map[string]string{"": ""}},
		FinalizerReleaseRequest{Kind: KindDevice, Name: "pi-07", UID: "u", Finalizer: FinalizerDeviceData},
		FinalizerReleaseRequest{Sender: sender, Kind: KindDeployment, Name: "web", UID: "u", Finalizer: FinalizerDeviceData},
		FinalizerReleaseRequest{Sender: sender, Kind: KindDeployment, Name: "web", UID: "u", Finalizer: "foregroundDeletion"},
		FinalizerReleaseRequest{Sender: sender, Kind: "Pod", Name: "web", UID: "u", Finalizer: FinalizerDesiredState},
		FinalizerReleaseRequest{Sender: sender, Kind: KindDeployment, Name: "web", Finalizer: FinalizerDesiredState},
		EventRecordRequest{Kind: KindDevice, Name: "pi-07", Type: "Normal", Reason: "R"},
		EventRecordRequest{Sender: sender, Kind: KindDevice, Name: "pi-07", Type: "Error", Reason: "R"},
		EventRecordRequest{Sender: sender, Kind: KindDevice, Name: "pi-07", Type: "Normal"},
		EventRecordRequest{Sender: sender, Kind: KindDevice, Name: "../x", Type: "Normal", Reason: "R"},
		EventRecordRequest{Sender: sender, Kind: KindDevice, Name: "pi-07", Type: "Normal", Reason: strings.Repeat("R", 1000)},
	} {
		if err := bad.Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestPage_Size(t *testing.T) {
	if got := (Page{}).Size(); got != DefaultLimit {
		t.Errorf("default %d", got)
	}
	if got := (Page{Limit: 7}).Size(); got != 7 {
		t.Errorf("seven %d", got)
	}
}

func TestAggregate_Validate(t *testing.T) {
	for _, bad := range []Aggregate{
		{MatchedDeviceCount: 1},
		{Running: 1},
		{MatchedDeviceCount: 1, Stale: 1},
		{MatchedDeviceCount: 1, Running: 1, StaleLastKnown: StaleLastKnown{Running: 1}},
		{Running: -1, Failed: 1},
		{MatchedDeviceCount: 0, Stale: 0, StaleLastKnown: StaleLastKnown{Running: 1, Failed: -1}},
	} {
		if err := bad.Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestError_CodeOf(t *testing.T) {
	e := Errorf(CodeConflict, "HoldChanged", "hold %s is no longer the current one", "h-1")
	if got, want := e.Error(), "hold h-1 is no longer the current one (HoldChanged, code 409)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := CodeOf(fmt.Errorf("approve: %w", e)); got != CodeConflict {
		t.Errorf("got %d", got)
	}
	for _, err := range []error{nil, ErrInvalid} {
		if got := CodeOf(err); got != 0 {
			t.Errorf("%v: got %d", err, got)
		}
	}
}
