package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/kube"
)

// events returns the Events about a Deployment as "Normal AllRunning x1 …", sorted.
func (r *rig) events(name string) []string {
	r.t.Helper()
	events := r.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(r.namespace)
	list, err := events.List(r.ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
	if err != nil {
		r.t.Fatal(err)
	}
	var all []string
	for _, e := range list.Items {
		all = append(all, fmt.Sprintf("%v %v x%v %v", e.Object["type"], e.Object["reason"], e.Object["count"], e.Object["message"]))
	}
	slices.Sort(all)
	return all
}

// staged asks for a status with one condition True.
func (s *sender) staged(u *unstructured.Unstructured, seq uint64, condition, reason string, stale int) {
	s.rig.t.Helper()
	req := statusRequest(s.from(), u, seq, fleet.ConditionFalse, 2)
	req.Status.Conditions = nil
	for _, c := range []string{fleet.ConditionReady, fleet.ConditionReconciling, fleet.ConditionStalled} {
		value := fleet.ConditionFalse
		if c == condition {
			value = fleet.ConditionTrue
		}
		req.Status.Conditions = append(req.Status.Conditions, fleet.Condition{Type: c, Status: value, Reason: reason, Message: "of " + reason})
	}
	req.Status.Aggregate.Running, req.Status.Aggregate.Stale = 2-stale, stale
	req.Status.Aggregate.StaleLastKnown.Running = stale
	result, err := ask(s.rig, fleet.StatusApply, req)
	s.rig.want(result, err, fleet.ResultPatched)
}

// A transition that lasts makes an Event of the Deployment; there and back, and the same status under another patcher, do not.
func TestEvents_TellOfTransitionsThatLast(t *testing.T) {
	r := newRig(t)
	first := r.ready("p1")
	s := r.sender(fleet.ServiceAggregator)
	r.create(kube.Deployments, "web", selecting("north"))
	r.create(kube.Deployments, "flaps", selecting("north"))
	r.mirrored("deployment.web", "north")
	r.mirrored("deployment.flaps", "north")
	web, flaps := r.read(kube.Deployments, "web"), r.read(kube.Deployments, "flaps")

	s.staged(flaps, 1, fleet.ConditionReconciling, fleet.ReasonPending, 0)
	s.staged(flaps, 2, fleet.ConditionStalled, fleet.ReasonDevicesFailed, 0)
	s.staged(flaps, 3, fleet.ConditionReconciling, fleet.ReasonPending, 0)
	s.staged(web, 4, fleet.ConditionReconciling, fleet.ReasonPending, 0)
	s.staged(web, 5, fleet.ConditionReady, fleet.ReasonAllRunning, 0)
	ready := "Normal AllRunning x1 generation 1: of AllRunning"
	r.eventually("it is told that web is ready", func() bool { return slices.Equal(r.events("web"), []string{ready}) })

	s.staged(web, 6, fleet.ConditionStalled, fleet.ReasonDevicesFailed, 1)
	failed, silent := "Warning DevicesFailed x1 of DevicesFailed", "Warning DevicesSilent x1 1 of 2 devices fell silent"
	r.eventually("it is told that it failed", func() bool {
		return slices.Equal(r.events("web"), []string{ready, failed, silent})
	})
	first.stop()
	r.ready("p2")
	u := r.read(kube.Deployments, "web")
	req := statusRequest(s.from(), u, 7, fleet.ConditionFalse, 2)
	req.Status = fleet.DeploymentStatus{}
	decodeJSON(t, text(u.Object["status"]), &req.Status)
	result, err := ask(r, fleet.StatusApply, req)
	r.want(result, err, fleet.ResultUnchanged)
	s.staged(web, 8, fleet.ConditionReady, fleet.ReasonAllRunning, 1)
	again := strings.Replace(ready, "x1", "x2", 1)
	r.eventually("it is told that it is ready again, and nothing else", func() bool {
		return slices.Equal(r.events("web"), []string{again, failed, silent})
	})
	if all := r.events("flaps"); len(all) != 0 {
		t.Errorf("what did not last is told: %q", all)
	}
}

// Events that the apiserver does not answer hold up no status.
func TestEvents_HoldUpNoStatus(t *testing.T) {
	r := newRig(t)
	g, kubeconfig := r.gate()
	g.set(func(req *http.Request) verdict {
		if strings.HasSuffix(req.URL.Path, "/events") || strings.Contains(req.URL.Path, "/events/") {
			return hold
		}
		return pass
	})
	r.ready("p1", "--kubeconfig", kubeconfig)
	s := r.sender(fleet.ServiceAggregator)
	r.create(kube.Deployments, "web", selecting("north"))
	r.mirrored("deployment.web", "north")
	u := r.read(kube.Deployments, "web")
	s.staged(u, 1, fleet.ConditionReady, fleet.ReasonAllRunning, 0)
	r.eventually("the event is asked for", func() bool { return g.stopped.Load() > 0 })
	began := time.Now()
	for seq := uint64(2); seq < 22; seq += 2 {
		s.staged(u, seq, fleet.ConditionStalled, fleet.ReasonDevicesFailed, 0)
		s.staged(u, seq+1, fleet.ConditionReady, fleet.ReasonAllRunning, 0)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("20 statuses took %s", took)
	}
}
