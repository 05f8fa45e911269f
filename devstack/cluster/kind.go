package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// namedRefusals is how many refusals an error names: all of them are in the summary.
const namedRefusals = 20

// Released is what was done to one kind of resource. Released and Left are never more than Found together.
type Released struct {
	Resource string    `json:"resource"`
	Missing  bool      `json:"missing,omitempty"` // the definition is not there, and so nothing of the kind is
	Found    int       `json:"found"`             // resources, also those that are gone now that nothing holds them
	Released int       `json:"released"`          // of them had finalizers of the operator, and have none any more
	Left     int       `json:"left"`              // of them have some
	Kept     int       `json:"kept"`              // of them are there, with finalizers of others, which stay
	Refused  []Refusal `json:"refused,omitempty"` // why some are left
}

// Refusal is a resource that could not be patched.
type Refusal struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// kind is what is known of one kind of resource.
type kind struct {
	resource schema.GroupResource
	client   dynamic.ResourceInterface
	missing  bool
	kept     int
	seen     map[types.UID]bool // ever
	released map[types.UID]bool // and not seen with finalizers since
	holding  map[types.UID]*unstructured.Unstructured
	refused  map[types.UID]*refusal // of those that are holding
}

type refusal struct {
	u     *unstructured.Unstructured
	why   error // of the last try
	tries int
}

func newKind(resource schema.GroupResource, client dynamic.ResourceInterface) *kind {
	return &kind{
		resource: resource, client: client, seen: map[types.UID]bool{}, released: map[types.UID]bool{}, refused: map[types.UID]*refusal{},
	}
}

// scanned is what one look at a kind has found.
type scanned struct {
	missing bool
	kept    int
	all     []types.UID
	holding []unstructured.Unstructured // have a finalizer of the operator
}

// scan pages through a kind. When the pages get too old to go on with, it begins again, a few times.
func scan(ctx context.Context, client dynamic.ResourceInterface) (s scanned, err error) {
	for range tries {
		s, err = scanOnce(ctx, client)
		if !apierrors.IsResourceExpired(err) {
			break
		}
	}
	return s, err
}

func scanOnce(ctx context.Context, client dynamic.ResourceInterface) (s scanned, err error) {
	opts := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := client.List(ctx, opts)
		if apierrors.IsNotFound(err) {
			return scanned{missing: true}, nil
		}
		if err != nil {
			return scanned{}, err
		}
		for _, u := range page.Items {
			s.add(u)
		}
		if opts.Continue = page.GetContinue(); opts.Continue == "" {
			return s, nil
		}
	}
}

func (s *scanned) add(u unstructured.Unstructured) {
	s.all = append(s.all, u.GetUID())
	rest := others(u.GetFinalizers())
	if len(rest) > 0 {
		s.kept++
	}
	if len(rest) < len(u.GetFinalizers()) {
		s.holding = append(s.holding, u)
	}
}

// take takes what a look has found for what is there now, and counts what was released and has finalizers again.
func (k *kind) take(s scanned) (again int) {
	k.missing, k.kept, k.holding = s.missing, s.kept, map[types.UID]*unstructured.Unstructured{}
	for _, uid := range s.all {
		k.seen[uid] = true
	}
	for _, u := range s.holding {
		uid := u.GetUID()
		k.holding[uid] = &u
		if k.released[uid] {
			again++
			delete(k.released, uid)
		}
	}
	for uid := range k.refused {
		if k.holding[uid] == nil {
			delete(k.refused, uid)
		}
	}
	return again
}

// pending is what is to be patched: what has finalizers, but for what has refused often enough.
func (k *kind) pending() []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for uid, u := range k.holding {
		if r := k.refused[uid]; r == nil || r.tries < tries {
			all = append(all, u)
		}
	}
	return all
}

func (k *kind) done(uid types.UID) {
	k.gone(uid)
	k.released[uid] = true
}

func (k *kind) gone(uid types.UID) {
	delete(k.holding, uid)
	delete(k.refused, uid)
}

func (k *kind) refuse(u *unstructured.Unstructured, why error) {
	r := k.refused[u.GetUID()]
	if r == nil {
		r = &refusal{u: u}
		k.refused[u.GetUID()] = r
	}
	r.why, r.tries = why, r.tries+1
}

// refusals returns them by name.
func (k *kind) refusals() []*refusal {
	var all []*refusal
	for _, r := range k.refused {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *refusal) int { return cmp.Compare(a.u.GetName(), b.u.GetName()) })
	return all
}

// counts is the summary without refusals: it is made for each patch.
func (r *releaser) counts() []Released {
	var all []Released
	for _, k := range r.kinds {
		all = append(all, Released{
			Resource: k.resource.String(), Missing: k.missing, Found: len(k.seen), Released: len(k.released), Left: len(k.holding), Kept: k.kept,
		})
	}
	return all
}

func (r *releaser) summary() []Released {
	all := r.counts()
	for i, k := range r.kinds {
		for _, r := range k.refusals() {
			all[i].Refused = append(all[i].Refused, Refusal{Name: r.u.GetName(), Why: r.why.Error()})
		}
	}
	return all
}

// refusals is [ErrRefused] with each resource that could not be patched, and why, or nil when there is none.
func (r *releaser) refusals() error {
	var all []*refusal
	for _, k := range r.kinds {
		all = append(all, k.refusals()...)
	}
	if len(all) == 0 {
		return nil
	}
	errs := []error{fmt.Errorf("%w: %d resources still have some", ErrRefused, len(all))}
	for _, r := range all[:min(len(all), namedRefusals)] {
		errs = append(errs, fmt.Errorf("%s %s: %w", r.u.GetKind(), r.u.GetName(), r.why))
	}
	if more := len(all) - namedRefusals; more > 0 {
		errs = append(errs, fmt.Errorf("and %d more, which -o json names", more))
	}
	return errors.Join(errs...)
}
