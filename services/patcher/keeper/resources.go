package keeper

import (
	"context"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/kube"
	"harmony.dev/services/patcher/mirror"
)

// Informer is what the keeper needs of a kind: the resources in view, a fresh look at them, and whether
// there is anything to be seen.
type Informer struct {
	Store      *kube.Store
	Relist     func(ctx context.Context) error   // returns when a list begun after the call is in the store
	OutOfSight func(now time.Time) time.Duration // for how long; zero while the apiserver is in sight
}

// ref names a resource.
type ref struct {
	kind kube.Kind
	name string
}

// key returns the resource's key in the mirror.
func (r ref) key() string {
	if r.kind == kube.Deployments {
		return fleet.DeploymentKey(fleet.DeploymentName(r.name))
	}
	return fleet.DeviceKey(fleet.DeviceID(r.name))
}

// want returns what the resource asks of the mirror, whose values have at most so many bytes.
func (r ref) want(resource map[string]any, most int) mirror.Want {
	if r.kind == kube.Deployments {
		_, want := mirror.Deployment(resource, most)
		return want
	}
	_, want := mirror.Device(resource, most)
	return want
}

// refOf returns the resource of a key of the mirror.
func refOf(key string) (ref, error) {
	name, err := fleet.ParseResourceKey(key)
	if err != nil {
		return ref{}, err
	}
	if name.Deployment != "" {
		return ref{kube.Deployments, string(name.Deployment)}, nil
	}
	return ref{kube.Devices, string(name.Device)}, nil
}

// all returns every resource in view.
func (k *Keeper) all() []ref {
	var refs []ref
	for _, kind := range kube.Kinds() {
		for _, name := range k.cfg.Informers[kind].Store.Names() {
			refs = append(refs, ref{kind, name})
		}
	}
	return refs
}

// wants returns what the resources ask for, by key; those that are gone are left out. It keeps the
// account of those that are refused, and asks for the finalizers of those that lack one. While that may
// yet succeed in a moment, a resource needs no placeholder, unless the mirror is about to be called whole.
func (k *Keeper) wants(refs []ref, f *finalizers, whole bool) map[string]mirror.Want {
	most := k.cfg.MaxValue()
	wants := make(map[string]mirror.Want, len(refs))
	for _, r := range refs {
		resource := k.cfg.Informers[r.kind].Store.Get(r.name)
		if resource == nil {
			k.refused.clear(r)
			continue
		}
		want := r.want(resource.Object, most)
		switch {
		case want.Refused != nil:
			k.refused.add(r, resource, want.Refused, k.view.shows(r.key()))
		case want.Missing != nil:
			f.ask(r)
			if !whole && !k.refused.stays(r) {
				want.Placeholder = nil
			}
		default:
			k.refused.clear(r)
		}
		wants[r.key()] = want
	}
	return wants
}
