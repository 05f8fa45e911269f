package scenarios

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// patched is how the patcher answers when it has written to the apiserver.
const patched = `"result":"` + fleet.ResultPatched + `"`

// Fault:   a service is answered, and the answer is lost with the connection: that of the patcher to a status, to
// a new device, to the release of a finalizer, and that of the server to a write of desired state.
// Promise: requests are idempotent: each is made again, and what it asked for is done once.
// Budget:  right within 10 s of the connection's return.
// Found:   -
func TestR24_AnswerLost(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	services := s.StartServices()
	patcher, reconciler, aggregator := services[0], services[1], services[2]
	s.StartDevices(8)
	registered(t, s, 8)
	s.WaitReady(len(services))
	writes := countWrites(patcher)

	right := func(lost *fault.AnswerLost, what string, check func()) {
		t.Helper()
		began := time.Now()
		fault.Heal(s, lost)
		check()
		s.WaitReady(len(services))
		s.Measured("right after the answer to a "+what+" was lost", time.Since(began), 10*time.Second)
	}

	t.Run("status", func(t *testing.T) {
		statuses := s.API.RecordStatuses("web")
		lost := &fault.AnswerLost{Of: aggregator, After: `"running":2`, Text: patched} // the last one: the same is sent again
		fault.Inject(s, lost)
		s.API.Apply(deployment("web", region("north")))
		lost.Await(s, 20*time.Second)
		again, err := s.Conn().SubscribeSync(fleet.StatusApply.Subject)
		if err != nil {
			t.Fatal(err)
		}
		right(lost, "status", func() {
			if _, err := again.NextMsg(10 * time.Second); err != nil {
				t.Errorf("the status is not sent again: %v", err)
			}
			settled(t, s, "web", counts(2, 2, 0, 0, 0), fleet.ConditionTrue)
		})
		s.Eventually(5*time.Second, "one write for each status", func(context.Context) error {
			var distinct []string
			for _, status := range statuses.All() {
				distinct = append(distinct, fmt.Sprintf("%+v", status))
			}
			distinct = slices.Compact(distinct)
			if n := writes.count("/deployments/web/status"); n != len(distinct) {
				return fmt.Errorf("%d writes of %d statuses: %q", n, len(distinct), distinct)
			}
			return nil
		})
	})
	t.Run("device", func(t *testing.T) {
		lost := &fault.AnswerLost{Of: aggregator, Text: patched}
		fault.Inject(s, lost)
		s.StartDevices(1, "--first", "100")
		lost.Await(s, 20*time.Second)
		created, err := s.API.Get(t.Context(), fleet.KindDevice, "dev-0100")
		if err != nil {
			t.Fatalf("the patcher says that it has created the device: %v", err)
		}
		right(lost, "device", func() { registered(t, s, 9) })
		if u, err := s.API.Get(t.Context(), fleet.KindDevice, "dev-0100"); err != nil || u.GetUID() != created.GetUID() {
			t.Errorf("the device is another one (%v)", err)
		}
		if n := writes.count("/devices/dev-0100/status"); n != 1 {
			t.Errorf("%d writes of its status, want 1", n)
		}
	})
	t.Run("desired state", func(t *testing.T) {
		desired := follow(s, fleet.BucketDesiredState)
		lost := &fault.AnswerLost{Of: reconciler, After: "$KV.desired-state.dev-", Text: `"stream":"KV_desired-state"`}
		fault.Inject(s, lost)
		changed := deployment("web", region("north"))
		changed.Score.Data = []byte(`{"image":"demo:2"}`)
		s.API.Apply(changed)
		lost.Await(s, 20*time.Second)
		right(lost, "write of desired state", func() { settled(t, s, "web", counts(2, 2, 0, 0, 0), fleet.ConditionTrue) })
		for _, key := range []string{"dev-0001.web", "dev-0005.web", fleet.AppliedKey("web")} {
			if ops := desired.all(key); len(ops) != 1 || ops[0].delete {
				t.Errorf("%s was written %d times: %+v", key, len(ops), ops)
			}
		}
	})
	t.Run("finalizer", func(t *testing.T) {
		lost := &fault.AnswerLost{Of: reconciler, Text: patched}
		fault.Inject(s, lost)
		s.API.Delete(fleet.KindDeployment, "web")
		lost.Await(s, 20*time.Second)
		if err := s.API.Gone(t.Context(), fleet.KindDeployment, "web"); err != nil {
			t.Fatalf("the patcher says that it has released the finalizer: %v", err)
		}
		s.API.Apply(deployment("web", region("north", "south"))) // the repeated request must not hit this one
		right(lost, "release of a finalizer", func() { settled(t, s, "web", counts(4, 4, 0, 0, 0), fleet.ConditionTrue) })
		u, err := s.API.Get(t.Context(), fleet.KindDeployment, "web")
		if err != nil || !slices.Contains(u.GetFinalizers(), fleet.FinalizerDesiredState) {
			t.Errorf("the new Deployment lacks its finalizer (%v)", err)
		}
	})
	s.AtRest()
}

// written counts the successful writes that a patcher makes.
type written struct {
	mu    sync.Mutex
	paths []string
}

func countWrites(patcher *lab.Instance) *written {
	w := &written{}
	patcher.Kube.OnDone(func(r *http.Request, status int) {
		if r.Method == http.MethodGet || status >= http.StatusBadRequest {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.paths = append(w.paths, r.URL.Path)
	})
	return w
}

// count is how many there were so far to paths that end so.
func (w *written) count(suffix string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, path := range w.paths {
		if strings.HasSuffix(path, suffix) {
			n++
		}
	}
	return n
}
