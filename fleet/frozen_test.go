package fleet

import (
	"slices"
	"testing"
	"time"
)

// Names that are stored or that others have configured: in buckets, permissions, manifests, dashboards.
// None may change.
func TestNames_AreFrozen(t *testing.T) {
	for _, n := range []struct{ got, want string }{
		{BucketDesiredState, "desired-state"},
		{BucketResources, "fleet-resources"},
		{BucketLeases, "fleet-leases"},
		{BucketDeviceInfo, "device-info"},
		{BucketDeviceState, "device-state"},
		{BucketDeviceHeartbeat, "device-heartbeat"},
		{KeyLease, "_lease"},
		{KeyEpoch, "_epoch"},
		{KeyHold, "_hold"},
		{KeySynced, "_synced"},
		{MetadataFleet, "fleet"},
		{HeaderEpoch, "Fleet-Epoch"},
		{HeaderCause, "Fleet-Cause"},
		{Group, "fleet.harmony.dev"},
		{Version, "v1alpha1"},
		{KindDeployment, "Deployment"},
		{KindDevice, "Device"},
		{ResourceDeployments, "deployments"},
		{ResourceDevices, "devices"},
		{FinalizerDesiredState, "fleet.harmony.dev/desired-state"},
		{FinalizerDeviceData, "fleet.harmony.dev/device-data"},
		{ServiceAggregator, "fleet-aggregator"},
		{ServiceReconciler, "fleet-reconciler"},
		{ServicePatcher, "fleet-patcher"},
		{SubjectResyncAll, "fleet.v1.agents.resync"},
		{DesiredSubjects, "fleet.v1.reconciler.device.desired.*"},
		{LivePrefix, "fleet.v1.live."},
		{string(PhasePending), "Pending"},
		{string(PhaseRunning), "Running"},
		{string(PhaseFailed), "Failed"},
		{string(CauseDeleted), "deleted"},
		{string(CauseQuarantined), "quarantined"},
		{string(CauseVanished), "vanished"},
		{string(CauseEdited), "edited"},
		{string(CauseRegressed), "regressed"},
		{string(CauseRelabelled), "relabelled"},
		{ConditionReady, "Ready"},
		{ConditionReconciling, "Reconciling"},
		{ConditionStalled, "Stalled"},
	} {
		if n.got != n.want {
			t.Errorf("%q has become %q", n.want, n.got)
		}
	}
	if TombstoneTTL != 7*24*time.Hour {
		t.Errorf("tombstones stay %s", TombstoneTTL)
	}
}

// Which replicas answer is part of the contract: a caller of an acting endpoint waits for the holder.
func TestEndpoints_Roles(t *testing.T) {
	acting := []Endpoint{HoldApprove, StatusApply, DeviceApply, FinalizerRelease, EventRecord}
	for _, ep := range Endpoints() {
		want := RoleQuery
		switch {
		case slices.Contains(acting, ep):
			want = RoleActing
		case ep == HealthEndpoint(ep.Service):
			want = RoleEvery
		}
		if ep.Role != want {
			t.Errorf("%s is %s, want %s", ep.Subject, ep.Role, want)
		}
	}
}
