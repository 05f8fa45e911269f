package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/kube"
)

func statusRequest(from fleet.Sender, u *unstructured.Unstructured, seq uint64, ready fleet.ConditionStatus, running int) fleet.StatusApplyRequest {
	return fleet.StatusApplyRequest{
		Sender: from, Deployment: fleet.DeploymentName(u.GetName()), UID: string(u.GetUID()),
		Generation: u.GetGeneration(), Seq: seq,
		Status: fleet.DeploymentStatus{
			ObservedGeneration: u.GetGeneration(),
			Aggregate:          fleet.Aggregate{MatchedDeviceCount: 2, Running: running, Pending: 2 - running},
			Conditions: []fleet.Condition{
				{Type: fleet.ConditionReady, Status: ready, Reason: fleet.ReasonPending, Message: "m"},
				{Type: fleet.ConditionStalled, Status: fleet.ConditionFalse, Reason: fleet.ReasonNotStalled, Message: "m"},
			},
		},
	}
}

func TestStatusApply(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	s := r.sender(fleet.ServiceAggregator)
	r.create(kube.Deployments, "web", selecting("north"))
	r.mirrored("deployment.web", "north")
	u := r.read(kube.Deployments, "web")

	apply := func(req fleet.StatusApplyRequest, expected string) {
		t.Helper()
		result, err := ask(r, fleet.StatusApply, req)
		r.want(result, err, expected)
	}
	apply(statusRequest(s.from(), u, 1, fleet.ConditionFalse, 1), fleet.ResultPatched)
	first := r.read(kube.Deployments, "web")
	apply(statusRequest(s.from(), u, 2, fleet.ConditionFalse, 1), fleet.ResultUnchanged)
	apply(statusRequest(s.from(), u, 2, fleet.ConditionFalse, 1), fleet.ResultUnchanged)
	if again := r.read(kube.Deployments, "web"); again.GetResourceVersion() != first.GetResourceVersion() {
		t.Errorf("an unchanged status was written")
	}
	apply(statusRequest(s.from(), u, 1, fleet.ConditionTrue, 2), "409 SeqStale")

	wrong := statusRequest(s.from(), u, 3, fleet.ConditionTrue, 2)
	wrong.UID = "other"
	apply(wrong, "409 UIDChanged")
	wrong = statusRequest(s.from(), u, 3, fleet.ConditionTrue, 2)
	wrong.Generation++
	apply(wrong, "409 GenerationAhead")
	wrong.Deployment = "Web"
	apply(wrong, "400 RequestInvalid")
	apply(statusRequest(fleet.Sender{Service: fleet.ServiceReconciler, Epoch: 1}, u, 3, fleet.ConditionTrue, 2), "400 WrongSender")

	stale := s.from()
	s.renew()
	apply(statusRequest(s.from(), u, 1, fleet.ConditionTrue, 2), fleet.ResultPatched)
	apply(statusRequest(stale, u, 9, fleet.ConditionFalse, 0), "412 EpochStale")
	if got := r.read(kube.Deployments, "web"); !strings.Contains(text(got.Object["status"]), `"running":2`) {
		t.Errorf("the status is %s", text(got.Object["status"]))
	}
}

func TestStatusApply_KeepsTransitionTimes(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	s := r.sender(fleet.ServiceAggregator)
	r.create(kube.Deployments, "web", selecting("north"))
	r.mirrored("deployment.web", "north")
	u := r.read(kube.Deployments, "web")
	result, err := ask(r, fleet.StatusApply, statusRequest(s.from(), u, 1, fleet.ConditionFalse, 1))
	r.want(result, err, fleet.ResultPatched)

	// an hour passes
	past := time.Now().Add(-time.Hour).UTC().Truncate(time.Second).Format(time.RFC3339)
	conditions := r.read(kube.Deployments, "web").Object["status"].(map[string]any)["conditions"].([]any)
	for _, c := range conditions {
		c.(map[string]any)["lastTransitionTime"] = past
	}
	r.patch(kube.Deployments, "web", `{"status":{"conditions":`+text(conditions)+`}}`, "status")

	var got *unstructured.Unstructured
	seq := uint64(1)
	r.eventually("the status is written", func() bool {
		seq++
		result, err := ask(r, fleet.StatusApply, statusRequest(s.from(), u, seq, fleet.ConditionTrue, 2))
		got = r.read(kube.Deployments, "web")
		return err == nil && result == fleet.ResultPatched
	})
	conditions = got.Object["status"].(map[string]any)["conditions"].([]any)
	if at := conditions[0].(map[string]any)["lastTransitionTime"]; at == past {
		t.Errorf("Ready changed, its time did not")
	}
	if at := conditions[1].(map[string]any)["lastTransitionTime"]; at != past {
		t.Errorf("Stalled did not change, its time did: %v", at)
	}
}

func TestStatusApply_NeverLowersObservedGeneration(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	s := r.sender(fleet.ServiceAggregator)
	r.create(kube.Deployments, "web", selecting("north"))
	r.patch(kube.Deployments, "web", `{"spec":{"targetSelector":{"matchLabels":{"region":"south"}}}}`)
	r.mirrored("deployment.web", "south")
	u := r.read(kube.Deployments, "web")
	seq := uint64(0)
	apply := func(observed int64) (string, error) {
		seq++
		req := statusRequest(s.from(), u, seq, fleet.ConditionFalse, 1)
		req.Status.ObservedGeneration = observed
		return ask(r, fleet.StatusApply, req)
	}
	for _, tt := range []struct {
		observed int64
		expected string
	}{{1, fleet.ResultPatched}, {2, fleet.ResultPatched}, {1, "409 ObservedBehind"}, {0, "409 ObservedBehind"}, {2, fleet.ResultUnchanged}} {
		result, err := apply(tt.observed)
		r.want(result, err, tt.expected)
	}

	// a backup of the apiserver brought the spec back, and somebody the status
	r.patch(kube.Deployments, "web", `{"status":{"observedGeneration":9}}`, "status")
	r.eventually("what is ahead of the generation is lowered", func() bool {
		result, err := apply(2)
		return err == nil && result == fleet.ResultPatched
	})
}

func TestStatusApply_WithoutTheSendersBucket(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	u := r.create(kube.Deployments, "web", selecting("north"))
	result, err := ask(r, fleet.StatusApply, statusRequest(fleet.Sender{Service: fleet.ServiceAggregator, Epoch: 7}, u, 1, fleet.ConditionTrue, 2))
	r.want(result, err, "503 EpochUnknown")
}

func TestDeviceApply(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	s := r.sender(fleet.ServiceAggregator)
	request := func(uid string, state fleet.DeviceState, labels ...string) fleet.DeviceApplyRequest {
		req := fleet.DeviceApplyRequest{
			Sender: s.from(), Device: "pi-1", UID: uid, Labels: map[string]string{},
			Status: fleet.DeviceStatus{State: state, AgentVersion: "1.0", Inventory: map[string]string{"model": "pi5"}},
		}
		for i := 0; i < len(labels); i += 2 {
			req.Labels[labels[i]] = labels[i+1]
		}
		return req
	}
	apply := func(req fleet.DeviceApplyRequest, expected string) {
		t.Helper()
		result, err := ask(r, fleet.DeviceApply, req)
		r.want(result, err, expected)
	}
	labelled := func(expected string) *unstructured.Unstructured {
		t.Helper()
		u := r.read(kube.Devices, "pi-1")
		if got := text(u.GetLabels()); got != expected {
			t.Fatalf("labels are %s, want %s", got, expected)
		}
		return u
	}

	if err := r.register(request("", fleet.DeviceFresh, "region", "north", "arch", "arm64")); err != nil {
		t.Fatal(err)
	}
	r.mirrored("device.pi-1", `"reported":{"arch":"arm64","region":"north"}`)
	r.mirrored("device.pi-1", `"state":"Fresh"`)
	u := labelled(`{"arch":"arm64","region":"north"}`)
	if got := text(u.GetFinalizers()); got != `["fleet.harmony.dev/desired-state","fleet.harmony.dev/device-data"]` {
		t.Errorf("finalizers are %s", got)
	}
	if got := text(u.Object["status"]); got != `{"agentVersion":"1.0","inventory":{"model":"pi5"},"state":"Fresh"}` {
		t.Errorf("status is %s", got)
	}

	uid := string(u.GetUID())
	apply(request("", fleet.DeviceFresh, "region", "north", "arch", "arm64"), fleet.ResultUnchanged)
	apply(request(uid, fleet.DeviceFresh, "region", "north", "arch", "arm64"), fleet.ResultUnchanged)
	if again := r.read(kube.Devices, "pi-1"); again.GetResourceVersion() != u.GetResourceVersion() {
		t.Error("an unchanged Device was written")
	}

	// a person takes a label over, and sets another that the device reports later
	r.patch(kube.Devices, "pi-1", `{"metadata":{"labels":{"region":"west","tier":"gateway"}},"spec":{"quarantined":true}}`)
	r.mirrored("device.pi-1", `"tier":"gateway"`)
	apply(request(uid, fleet.DeviceFresh, "region", "south", "arch", "amd64", "tier", "leaf"), fleet.ResultPatched)
	labelled(`{"arch":"amd64","region":"west","tier":"gateway"}`)
	r.mirrored("device.pi-1", `"reported":{"arch":"amd64"}`)

	// the device removes its label
	apply(request(uid, fleet.DeviceStale, "region", "south"), fleet.ResultPatched)
	u = labelled(`{"region":"west","tier":"gateway"}`)
	if got := text(u.Object["spec"]); got != `{"quarantined":true}` {
		t.Errorf("spec is %s", got)
	}
	apply(request(uid, fleet.DeviceStale), fleet.ResultUnchanged)

	apply(request("other", fleet.DeviceFresh), "409 UIDChanged")
	apply(request(uid, fleet.DeviceFresh, "not a label", "x"), "400 RequestInvalid")
	r.delete(kube.Devices, "pi-1")
	r.mirrored("device.pi-1", `"deleting":true`)
	apply(request(uid, fleet.DeviceFresh), "409 Deleting")
	apply(request("", fleet.DeviceFresh), "409 Deleting")
}

// register asks for a Device until its status is written: the keeper, which adds the finalizers, may
// change the Device in between.
func (r *rig) register(req fleet.DeviceApplyRequest) (err error) {
	r.t.Helper()
	for range 20 {
		if _, err = ask(r, fleet.DeviceApply, req); fleet.CodeOf(err) != fleet.CodeConflict {
			break
		}
	}
	return err
}

// A Device without its labels is one that selectors such as NotIn hit.
func TestDeviceApply_NeverMirroredWithoutItsLabels(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	s := r.sender(fleet.ServiceAggregator)
	const devices, senders = 50, 8
	var recorded sync.Map // key → its first message without labels
	seen := make(chan string, 16*devices)
	sub, err := r.nc.Subscribe(fleet.KeySubject(fleet.BucketResources, "device.*"), func(m *nats.Msg) {
		if !strings.Contains(string(m.Data), `"labels":{"env":"prod"}`) {
			recorded.LoadOrStore(m.Subject, string(m.Data))
		}
		seen <- m.Subject
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()

	names := make(chan fleet.DeviceID, devices)
	for i := range devices {
		names <- fleet.DeviceID(fmt.Sprintf("pi-%02d", i))
	}
	close(names)
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for name := range names {
				if err := r.register(fleet.DeviceApplyRequest{
					Sender: s.from(), Device: name, Labels: map[string]string{"env": "prod"},
					Status: fleet.DeviceStatus{State: fleet.DeviceFresh},
				}); err != nil {
					t.Errorf("register %s: %v", name, err)
				}
			}
		})
	}
	all.Wait()
	mirrored := map[string]bool{}
	for len(mirrored) < devices {
		select {
		case subject := <-seen:
			mirrored[subject] = true
		case <-time.After(soon):
			t.Fatalf("%d devices are mirrored, want %d", len(mirrored), devices)
		}
	}
	recorded.Range(func(subject, value any) bool {
		t.Errorf("%s was mirrored without its labels: %s", subject, value)
		return true
	})
}

func TestFinalizerRelease(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	reconciler, aggregator := r.sender(fleet.ServiceReconciler), r.sender(fleet.ServiceAggregator)
	r.create(kube.Devices, "pi-1", map[string]any{})
	r.mirrored("device.pi-1", "uid")
	u := r.read(kube.Devices, "pi-1")
	release := func(s *sender, finalizer, uid, expected string) {
		t.Helper()
		result, err := ask(r, fleet.FinalizerRelease, fleet.FinalizerReleaseRequest{
			Sender: s.from(), Kind: fleet.KindDevice, Name: "pi-1", UID: uid, Finalizer: finalizer,
		})
		r.want(result, err, expected)
	}
	uid := string(u.GetUID())
	release(reconciler, fleet.FinalizerDesiredState, uid, "409 NotDeleting")
	r.delete(kube.Devices, "pi-1")
	r.mirrored("device.pi-1", `"deleting":true`)
	release(reconciler, fleet.FinalizerDeviceData, uid, "400 WrongSender")
	release(aggregator, fleet.FinalizerDesiredState, uid, "400 WrongSender")
	release(reconciler, "example.com/other", uid, "400 RequestInvalid")
	release(reconciler, fleet.FinalizerDesiredState, "other", fleet.ResultGone)
	release(reconciler, fleet.FinalizerDesiredState, uid, fleet.ResultPatched)
	release(reconciler, fleet.FinalizerDesiredState, uid, fleet.ResultUnchanged)
	if got := text(r.read(kube.Devices, "pi-1").GetFinalizers()); got != `["fleet.harmony.dev/device-data"]` {
		t.Errorf("finalizers are %s", got)
	}
	release(aggregator, fleet.FinalizerDeviceData, uid, fleet.ResultPatched)
	release(aggregator, fleet.FinalizerDeviceData, uid, fleet.ResultGone)
	r.mirrored("device.pi-1", `"cause":"deleted"`)
}

func TestEventRecord(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	s := r.sender(fleet.ServiceReconciler)
	u := r.create(kube.Deployments, "web", selecting("north"))
	req := fleet.EventRecordRequest{
		Sender: s.from(), Kind: fleet.KindDeployment, Name: "web", UID: string(u.GetUID()),
		Type: "Warning", Reason: "Held", Message: "12 deletes wait for a person",
	}
	for range 3 {
		_, err := ask(r, fleet.EventRecord, req)
		r.want("", err, "")
	}
	events := r.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(r.namespace)
	list, err := events.List(r.ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=web"})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 || list.Items[0].Object["count"] != int64(3) || list.Items[0].Object["message"] != req.Message {
		t.Errorf("got the events %s", text(list.Items))
	}
	r.eventually("the object has had its share", func() bool {
		_, err := ask(r, fleet.EventRecord, req)
		return fleet.CodeOf(err) == fleet.CodeBusy
	})
}

func TestActing_StandbyIsSilent(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	standby := r.start("p2")
	r.eventually("the standby is ready", func() bool { h, ok := standby.health(); return ok && h.Ready })
	s := r.sender(fleet.ServiceAggregator)
	r.create(kube.Deployments, "web", selecting("north"))
	r.mirrored("deployment.web", "north")
	u := r.read(kube.Deployments, "web")
	for seq := range uint64(20) {
		result, err := ask(r, fleet.StatusApply, statusRequest(s.from(), u, seq, fleet.ConditionTrue, int(seq%3)))
		if err != nil || result != fleet.ResultPatched {
			t.Fatalf("request %d: %s, %v", seq, result, err)
		}
	}
}
