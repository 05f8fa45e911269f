package lab

import (
	"encoding/json"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"harmony.dev/fleet"
)

// Statuses records every status of a Deployment from now on, as the apiserver's watch delivers them.
type Statuses struct {
	mu   sync.Mutex
	seen []fleet.DeploymentStatus
	uids []string // of the Deployments that had them: several of one name
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
	s.seen, s.uids = append(s.seen, status), append(s.uids, string(u.GetUID()))
}

// All returns what was seen so far.
func (s *Statuses) All() []fleet.DeploymentStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]fleet.DeploymentStatus(nil), s.seen...)
}

// Of returns what was seen so far of the Deployment with this uid, of all that had the name.
func (s *Statuses) Of(uid string) []fleet.DeploymentStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []fleet.DeploymentStatus
	for i, status := range s.seen {
		if s.uids[i] == uid {
			out = append(out, status)
		}
	}
	return out
}

// RecordAdded records the names of the resources of a kind that are created from now on, until the returned
// function is asked for them, or the test ends.
func (a *API) RecordAdded(kind string) (names func() []string) {
	a.t.Helper()
	list, err := a.resource(kind).List(a.t.Context(), metav1.ListOptions{})
	if err != nil {
		a.t.Fatalf("list %ss: %v", kind, err)
	}
	w, err := a.resource(kind).Watch(a.t.Context(), metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		a.t.Fatalf("watch %ss: %v", kind, err)
	}
	var seen []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range w.ResultChan() {
			if u, ok := e.Object.(*unstructured.Unstructured); ok && e.Type == watch.Added {
				seen = append(seen, u.GetName())
			}
		}
	}()
	a.t.Cleanup(func() { w.Stop(); <-done })
	return func() []string {
		w.Stop()
		<-done
		return seen
	}
}
