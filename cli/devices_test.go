package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"harmony.dev/devstack/cluster"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// registry is an operator that knows the devices of a namespace, all of them stale.
func registry(t *testing.T, n *fleetNamespace, change func(*fleet.DeviceView)) string {
	t.Helper()
	o, url := startOperator(t)
	o.serve(fleet.ServiceAggregator, true, func(s *rpc.Server) {
		err := rpc.Handle(s, fleet.DevicesGet, func(ctx context.Context, req fleet.GetRequest) (fleet.DevicesGetResponse, error) {
			at := time.Now().Add(-time.Hour)
			view := fleet.DeviceView{Name: fleet.DeviceID(req.Name), State: fleet.DeviceStale, LastSeen: &at}
			u, err := n.kube.Dynamic.Resource(cluster.Devices).Namespace(n.name).Get(ctx, req.Name, metav1.GetOptions{})
			if err == nil {
				view.Registered, view.UID = true, string(u.GetUID())
			}
			if change != nil {
				change(&view)
			}
			return fleet.DevicesGetResponse{Device: view}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	return url
}

func (n *fleetNamespace) forget(url string, more ...string) (int, string, string) {
	n.t.Helper()
	args := []string{"devices", "forget", "--yes", "--nats-url", url, "--namespace", n.name, "--kubeconfig", n.kube.Kubeconfig}
	return invoke(n.t.Context(), append(args, more...)...)
}

func (n *fleetNamespace) devices() []unstructured.Unstructured {
	n.t.Helper()
	list, err := n.kube.Dynamic.Resource(cluster.Devices).Namespace(n.name).List(n.t.Context(), metav1.ListOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	return list.Items
}

func TestForget_DeletesNothingWhenOneIsNotTheOperators(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fleet.DeviceView)
		want   string
	}{
		"one is alive":   {func(d *fleet.DeviceView) { d.State = fleet.DeviceFresh }, "alive, so that forgetting is a reset"},
		"one is another": {func(d *fleet.DeviceView) { d.UID = "another" }, "is not the one that the operator has"},
	} {
		n := newFleetNamespace(t)
		n.create(fleet.KindDevice, 2)
		url := registry(t, n, func(d *fleet.DeviceView) {
			if d.Name == "device-1" {
				c.change(d)
			}
		})
		code, stdout, stderr := n.forget(url, "device-0", "device-1")
		if code != 1 || stdout != "" || !strings.Contains(stderr, c.want) || len(n.devices()) != 2 {
			t.Errorf("%s: exit %d, stdout %q, stderr %q, %d are left", name, code, stdout, stderr, len(n.devices()))
		}
	}
}

func TestForget_WaitsAndNamesThoseThatStay(t *testing.T) {
	n := newFleetNamespace(t)
	n.create(fleet.KindDevice, 1)
	stays := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": fleet.Group + "/" + fleet.Version, "kind": fleet.KindDevice, "spec": map[string]any{},
		"metadata": map[string]any{"name": "stays", "finalizers": []any{fleet.FinalizerDeviceData}},
	}}
	if _, err := n.kube.Dynamic.Resource(cluster.Devices).Namespace(n.name).Create(t.Context(), stays, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	url := registry(t, n, nil)
	code, stdout, stderr := n.forget(url, "device-0", "stays", "stays", "--within", "1s")
	if code != 1 || stdout != "device device-0 is gone\ndevice stays is being deleted\n" || !strings.Contains(stderr, "still being deleted: stays; 'fleet status' says") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if left := n.devices(); len(left) != 1 || left[0].GetDeletionTimestamp() == nil {
		t.Errorf("left are %v", left)
	}
	code, stdout, _ = n.forget(url, "device/stays", "--wait=false", "-o", "name")
	if code != 0 || stdout != "device/stays\n" {
		t.Errorf("without waiting: exit %d, stdout %q", code, stdout)
	}
}

func TestForget_WithoutAnOperatorNeedsForce(t *testing.T) {
	n := newFleetNamespace(t)
	n.create(fleet.KindDevice, 1)
	_, url := startOperator(t)
	code, _, stderr := n.forget(url, "device-0", "--timeout", "1s")
	if code != 1 || !strings.Contains(stderr, "not known whether device device-0 is alive") || len(n.devices()) != 1 {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
	if code, stdout, stderr := n.forget(url, "device-0", "--timeout", "1s", "--force"); code != 0 || len(n.devices()) != 0 {
		t.Errorf("with --force: exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestForget_NamesWhatItDidNotTouch(t *testing.T) {
	n := newFleetNamespace(t)
	n.create(fleet.KindDevice, 4)
	n.refuseDeletes("device-1")
	url := registry(t, n, nil)
	code, stdout, stderr := n.forget(url, "device-0", "device-1", "device-2", "device-3")
	if code != 1 || stdout != "device device-0 is being deleted\n" || !strings.Contains(stderr, "device device-1 was not deleted; not touched: device-2 device-3: ") || !strings.Contains(stderr, "hands off") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if left := n.devices(); len(left) != 3 {
		t.Errorf("%d are left", len(left))
	}
}

// An apiserver that did not answer, or not for itself, may have begun the deletion.
func TestNotDeleted_SaysWhatIsKnown(t *testing.T) {
	devices := schema.GroupResource{Group: fleet.Group, Resource: fleet.ResourceDevices}
	for name, c := range map[string]struct {
		err   error
		known bool
	}{
		"forbidden":      {apierrors.NewForbidden(devices, "a", errors.New("no")), true},
		"too many":       {apierrors.NewTooManyRequests("later", 1), true},
		"timed out":      {apierrors.NewTimeoutError("late", 1), false},
		"internal error": {apierrors.NewInternalError(errors.New("x")), false},
		"cut off":        {io.ErrUnexpectedEOF, false},
		"stopped":        {context.Canceled, false},
	} {
		after := []*forgotten{{Name: "b", resource: cluster.Resource{Name: "b"}}, {Name: "without-resource"}, {Name: "c", resource: cluster.Resource{Name: "c"}}}
		err := notDeleted("a", after, fmt.Errorf("delete device a: %w", c.err))
		want := "it is not known whether device a is being deleted"
		if c.known {
			want = "device a was not deleted"
		}
		if !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "; not touched: b c: ") || !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
