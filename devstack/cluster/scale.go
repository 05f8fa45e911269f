package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

var workloads = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// ErrStillRunning says that replicas were left when the time was up.
var ErrStillRunning = errors.New("replicas are left")

// ScaleDown scales an apps/v1 Deployment to no replicas, and waits until none is left. Found is false when there is no
// such Deployment. It needs get and patch on deployments/scale.
func ScaleDown(ctx context.Context, client Client, namespace, name string, within time.Duration) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	scale := client.Resource(workloads).Namespace(namespace)
	_, err = scale.Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{FieldManager: "fleet-uninstall"}, "scale")
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("scale deployment %s to 0: %w", name, err)
	}
	for {
		now, err := scale.Get(ctx, name, metav1.GetOptions{}, "scale")
		switch {
		case apierrors.IsNotFound(err):
			return true, nil
		case err != nil && ctx.Err() == nil:
			return true, fmt.Errorf("ask for the replicas of deployment %s: %w", name, err)
		case err == nil:
			wanted, _, _ := unstructured.NestedInt64(now.Object, "spec", "replicas")
			left, _, _ := unstructured.NestedInt64(now.Object, "status", "replicas")
			if left == 0 && wanted == 0 {
				return true, nil
			}
			if wanted > 0 {
				return true, fmt.Errorf("deployment %s was scaled to %d again: something else sets its replicas", name, wanted)
			}
		}
		if pause(ctx, 250*time.Millisecond) != nil {
			return true, fmt.Errorf("wait until deployment %s has no replicas: %w after %s", name, ErrStillRunning, within)
		}
	}
}
