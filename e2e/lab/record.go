package lab

import (
	"context"
	"encoding/json"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"harmony.dev/fleet"
)

// Statuses records every status of a Deployment from now on, as the apiserver's watch delivers them.
type Statuses struct {
	mu   sync.Mutex
	seen []fleet.DeploymentStatus
}

// RecordStatuses starts a recording that ends with the test.
func (a *API) RecordStatuses(name string) *Statuses {
	a.t.Helper()
	w, err := a.resource(fleet.KindDeployment).Watch(a.t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		a.t.Fatalf("watch deployment %s: %v", name, err)
	}
	s := &Statuses{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range w.ResultChan() {
			if u, ok := e.Object.(*unstructured.Unstructured); ok {
				s.add(u)
			}
		}
	}()
	a.t.Cleanup(func() { w.Stop(); <-done })
	return s
}

func (s *Statuses) add(u *unstructured.Unstructured) {
	var status fleet.DeploymentStatus
	b, err := json.Marshal(u.Object["status"])
	if err != nil || string(b) == "null" || json.Unmarshal(b, &status) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, status)
}

// All returns what was seen so far.
func (s *Statuses) All() []fleet.DeploymentStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]fleet.DeploymentStatus(nil), s.seen...)
}

// Picture is all that a fault may or may not change: every resource and every key.
type Picture struct {
	Resources map[string]Resource
	Keys      map[string]map[string]Entry // by bucket; without book-keeping
}

// Picture takes one of the whole stack. Heartbeats are left out: they go on.
func (s *Stack) Picture(ctx context.Context) (Picture, error) {
	p := Picture{Keys: map[string]map[string]Entry{}}
	var err error
	if p.Resources, err = s.API.Resources(ctx); err != nil {
		return p, err
	}
	for _, b := range []string{fleet.BucketDesiredState, fleet.BucketResources, fleet.BucketDeviceInfo, fleet.BucketDeviceState} {
		if p.Keys[b], err = s.NATS.Keys(ctx, b); err != nil {
			return p, err
		}
	}
	return p, nil
}

// MustPicture is Picture for when the stack is healthy.
func (s *Stack) MustPicture() Picture {
	s.t.Helper()
	p, err := s.Picture(s.t.Context())
	if err != nil {
		s.t.Fatalf("take a picture of the stack: %v", err)
	}
	return p
}
