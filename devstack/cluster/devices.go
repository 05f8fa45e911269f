package cluster

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Resource is one resource, and not another one that has its name later.
type Resource struct {
	Name string
	UID  types.UID
}

// FindDevice looks for the Device of a name. Found is false when there is none. It needs get on devices.
func FindDevice(ctx context.Context, client Client, namespace, name string) (d Resource, found bool, err error) {
	u, err := client.Resource(Devices).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return d, false, nil
	}
	if err != nil {
		return d, false, fmt.Errorf("look at device %s: %w", name, err)
	}
	return Resource{Name: name, UID: u.GetUID()}, true, nil
}

// DeleteDevice deletes a Device: it is gone once its finalizers are off. One that is gone already is no error. It needs delete
// on devices.
func DeleteDevice(ctx context.Context, client Client, namespace string, d Resource) error {
	opts := metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(d.UID))}
	err := client.Resource(Devices).Namespace(namespace).Delete(ctx, d.Name, opts)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // either way this one is gone
		return fmt.Errorf("delete device %s: %w", d.Name, err)
	}
	return nil
}

// AwaitGone waits until none of the Devices is there any more; one of the same name that was created since is another.
// Waiting is called with the names of those that are left, after each look. When ctx ends it returns those, and its error.
// It needs get on devices.
func AwaitGone(ctx context.Context, client Client, namespace string, all []Resource, waiting func(left []string)) (left []string, err error) {
	devices := client.Resource(Devices).Namespace(namespace)
	for rest := slices.Clone(all); ; {
		rest, err = there(ctx, rest, func(ctx context.Context, name string) (types.UID, error) {
			u, err := devices.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return u.GetUID(), nil
		})
		left = names(rest)
		if err == nil && len(rest) == 0 {
			return nil, nil
		}
		if err != nil && (ctx.Err() != nil || !Unready(err)) {
			return left, err
		}
		waiting(left)
		if err := pause(ctx, busy); err != nil {
			return left, err
		}
	}
}

// there returns those that are still there. With an error it does not know of all, and returns these, too.
func there(ctx context.Context, all []Resource, uid func(context.Context, string) (types.UID, error)) ([]Resource, error) {
	var rest []Resource
	for i, d := range all {
		now, err := uid(ctx, d.Name)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return append(rest, all[i:]...), fmt.Errorf("look at device %s: %w", d.Name, err)
		case now == d.UID:
			rest = append(rest, d)
		}
	}
	return rest, nil
}

func names(all []Resource) []string {
	var out []string
	for _, d := range all {
		out = append(out, d.Name)
	}
	return out
}
