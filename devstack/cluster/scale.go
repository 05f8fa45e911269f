package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

var (
	workloads    = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	podsResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
)

// steady is how long no pod may be there: a controller that has not heard of the scale may still create one.
const steady = 2 * time.Second

// ErrStillRunning says that pods were left when the time was up.
var ErrStillRunning = errors.New("pods are left")

// ScaleDown scales an apps/v1 Deployment to no replicas, and waits until none of its pods is left, those that are
// terminating included, for they still run. Waiting is called with those that are left, each time they are others. Found
// is false when there is no such Deployment. It needs get and patch on deployments/scale, and list on pods.
func ScaleDown(ctx context.Context, client Client, namespace, name string, within time.Duration, waiting func(pods []string)) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	w := &workload{name: name, scale: client.Resource(workloads).Namespace(namespace), pods: client.Resource(podsResource).Namespace(namespace)}
	now, err := w.scale.Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{FieldManager: "fleet-uninstall"}, "scale")
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("scale deployment %s to 0: %w", name, err)
	}
	if w.selector, _, _ = unstructured.NestedString(now.Object, "status", "selector"); w.selector == "" {
		return true, fmt.Errorf("the scale of deployment %s does not say which pods are its own", name) // "" would select all
	}
	return true, w.awaitNone(ctx, within, waiting)
}

// workload is a Deployment that was scaled to 0.
type workload struct {
	name, selector string
	scale, pods    dynamic.ResourceInterface
}

// awaitNone waits until nothing has been left for a moment.
func (w *workload) awaitNone(ctx context.Context, within time.Duration, waiting func([]string)) error {
	var since time.Time // nothing was left
	told := []string{"which, it did not say"}
	for {
		left, err := w.left(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case err != nil: // the time is up, and what was left before is told
		case len(left) > 0:
			since = time.Time{}
			if !slices.Equal(told, left) {
				waiting(left)
			}
			told = left
		case since.IsZero():
			since, told = time.Now(), nil
		case time.Since(since) >= min(steady, within/2):
			return nil
		}
		if pause(ctx, busy) != nil {
			return fmt.Errorf("wait until deployment %s has no pods: %w after %s: %s", w.name, ErrStillRunning, within, enumerate(told))
		}
	}
}

// left names the pods that are left. A status that has not caught up counts as one: it may not know of pods yet.
func (w *workload) left(ctx context.Context) ([]string, error) {
	replicas, err := w.replicas(ctx)
	if err != nil {
		return nil, err
	}
	pods, err := w.running(ctx)
	if err == nil && len(pods) == 0 && replicas > 0 {
		pods = []string{fmt.Sprintf("%d by the status of the Deployment", replicas)}
	}
	return pods, err
}

// replicas are those in the status. A Deployment that was deleted has none, yet its pods may be there for a while.
func (w *workload) replicas(ctx context.Context) (int64, error) {
	now, err := w.scale.Get(ctx, w.name, metav1.GetOptions{}, "scale")
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("ask for the replicas of deployment %s: %w", w.name, err)
	}
	if wanted, _, _ := unstructured.NestedInt64(now.Object, "spec", "replicas"); wanted > 0 {
		return 0, fmt.Errorf("deployment %s was scaled to %d again: something else sets its replicas", w.name, wanted)
	}
	left, _, _ := unstructured.NestedInt64(now.Object, "status", "replicas")
	return left, nil
}

// running names the pods whose containers may run. One that has ended, such as after an eviction, may stay for ever.
func (w *workload) running(ctx context.Context) ([]string, error) {
	list, err := w.pods.List(ctx, metav1.ListOptions{LabelSelector: w.selector})
	if err != nil {
		return nil, fmt.Errorf("list the pods of deployment %s: %w", w.name, err)
	}
	var names []string
	for _, pod := range list.Items {
		phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
		switch {
		case phase == "Succeeded" || phase == "Failed":
		case pod.GetDeletionTimestamp() != nil:
			names = append(names, pod.GetName()+" (terminating)")
		default:
			names = append(names, pod.GetName())
		}
	}
	slices.Sort(names)
	return names, nil
}

// enumerate names a few.
func enumerate(pods []string) string {
	const named = 5
	switch {
	case len(pods) == 0:
		return "the last has only just ended"
	case len(pods) > named:
		return fmt.Sprintf("%s and %d more", strings.Join(pods[:named], ", "), len(pods)-named)
	}
	return strings.Join(pods, ", ")
}
