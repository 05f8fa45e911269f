package kube

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"harmony.dev/fleet"
)

// act is a write, or what it takes, as the apiserver's permissions name it: patch deployments/status.
type act struct {
	verb, resource string
	name           string // of the object
}

// denials remembers what the apiserver does not allow at all, until it does. Nobody may ask for the same
// again soon, and whoever did has only an answer about one resource.
type denials struct {
	mu      sync.Mutex
	last    map[act]denial // by act without its name
	missing error          // the namespace does not exist
}

type denial struct {
	name string
	err  error
}

func newDenials() *denials { return &denials{last: map[act]denial{}} }

// note takes in how an act went.
func (d *denials) note(a act, err error) {
	key := act{verb: a.verb, resource: a.resource}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		delete(d.last, key)
		if a.verb != "get" { // there may be nothing to get in no namespace
			d.missing = nil
		}
	case isNamespaceMissing(err):
		d.missing = err
	case apierrors.IsForbidden(err):
		d.last[key] = denial{a.name, err}
	}
}

func (d *denials) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.last)
	d.missing = nil
}

// reason says what is denied, nil when nothing is. A denial about an object that is gone does not count.
func (d *denials) reason(namespace string, gone func(act) bool) *fleet.Reason {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.missing != nil {
		return reasonf(ReasonNamespaceMissing, "%s", namespaceMissing(d.missing))
	}
	maps.DeleteFunc(d.last, func(a act, denied denial) bool {
		a.name = denied.name
		return gone(a)
	})
	if len(d.last) == 0 {
		return nil
	}
	acts := slices.SortedFunc(maps.Keys(d.last), func(a, b act) int {
		return cmp.Or(cmp.Compare(a.resource, b.resource), cmp.Compare(a.verb, b.verb))
	})
	names := make([]string, 0, len(acts))
	for _, a := range acts {
		names = append(names, a.verb+" "+a.resource)
	}
	return reasonf(ReasonAPIForbidden, "not allowed to %s in namespace %s: grant it by a Role and RoleBinding (%v)",
		strings.Join(names, ", "), namespace, d.last[acts[0]].err)
}
