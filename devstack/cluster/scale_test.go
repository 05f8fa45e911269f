package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// apiserver answers as the API would for apps/v1 and pods, which the API that tests have does not serve. It records what
// it is asked.
type apiserver struct {
	mu         sync.Mutex
	asked      []string
	replicas   []int // in the status of the scale, by each question
	wanted     int
	exists     bool
	deleted    bool       // once it was scaled
	pods       [][]string // that are there, by each question: "name" or "name phase", "-name" for one that is terminating
	noSelector bool
	noList     bool
}

const (
	scalePath = "/apis/apps/v1/namespaces/fleet/deployments/fleet-patcher/scale"
	podsPath  = "/api/v1/namespaces/fleet/pods?app=patcher"
)

func (a *apiserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	where := r.URL.Path
	if selector := r.URL.Query().Get("labelSelector"); selector != "" {
		where += "?" + selector
	}
	a.asked = append(a.asked, strings.TrimSpace(r.Method+" "+where+" "+string(body)))
	switch {
	case a.exists && r.URL.Path == scalePath && (r.Method == http.MethodPatch || !a.deleted):
		selector := "app=patcher"
		if a.noSelector {
			selector = ""
		}
		answer(w, http.StatusOK, map[string]any{
			"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": map[string]any{"name": "fleet-patcher", "namespace": "fleet"},
			"spec": map[string]any{"replicas": a.wanted}, "status": map[string]any{"replicas": next(r, &a.replicas), "selector": selector},
		})
	case where == podsPath && a.noList:
		refuse(w, http.StatusForbidden, metav1.StatusReasonForbidden, "may not list pods")
	case where == podsPath:
		items := []any{}
		for _, pod := range next(r, &a.pods) {
			items = append(items, podOf(pod))
		}
		answer(w, http.StatusOK, map[string]any{"kind": "PodList", "apiVersion": "v1", "metadata": map[string]any{}, "items": items})
	default:
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, "not found")
	}
}

// next is what is answered now. A patch does not count as a question.
func next[T any](r *http.Request, answers *[]T) (now T) {
	if len(*answers) == 0 {
		return now
	}
	now = (*answers)[0]
	if r.Method == http.MethodGet && len(*answers) > 1 {
		*answers = (*answers)[1:]
	}
	return now
}

func podOf(text string) map[string]any {
	name, phase, _ := strings.Cut(strings.TrimPrefix(text, "-"), " ")
	metadata := map[string]any{"name": name}
	if strings.HasPrefix(text, "-") {
		metadata["deletionTimestamp"] = "2026-01-02T03:04:05Z"
	}
	return map[string]any{"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "status": map[string]any{"phase": cmp.Or(phase, "Running")}}
}

func answer(w http.ResponseWriter, code int, doc any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(doc)
}

func refuse(w http.ResponseWriter, code int32, reason metav1.StatusReason, message string) {
	answer(w, int(code), metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: reason, Code: code, Message: message,
	})
}

func (a *apiserver) client(t *testing.T) Client {
	t.Helper()
	return clientOf(t, a)
}

// clientOf reaches an API that a test stands in for.
func clientOf(t *testing.T, api http.Handler) Client {
	t.Helper()
	s := httptest.NewServer(api)
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	doc := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"a","contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],"clusters":[{"name":"a","cluster":{"server":%q}}],"users":[{"name":"a"}]}`, s.URL)
	if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := Connect("", func(name string) string { return map[string]string{"KUBECONFIG": file}[name] }, "test")
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestScaleDown(t *testing.T) {
	for name, c := range map[string]*struct {
		api    *apiserver
		found  bool
		err    string
		waited string // for which pods
	}{
		"two replicas end":           {&apiserver{replicas: []int{2, 2, 1, 0}, pods: [][]string{{"a", "b"}, {"a", "b"}, {"-a"}, {}}}, true, "", "[a b] [a (terminating)]"},
		"none was left":              {&apiserver{replicas: []int{0}}, true, "", ""},
		"one is still terminating":   {&apiserver{replicas: []int{0}, pods: [][]string{{"-a"}, {"-a"}, {"-a"}, {}}}, true, "", "[a (terminating)]"},
		"one is created late":        {&apiserver{replicas: []int{0}, pods: [][]string{{}, {}, {"late"}, {}}}, true, "", "[late]"},
		"the status comes late":      {&apiserver{replicas: []int{1, 1, 0}}, true, "", "[1 by the status of the Deployment]"},
		"what has ended may stay":    {&apiserver{replicas: []int{0}, pods: [][]string{{"a Failed", "b Succeeded"}}}, true, "", ""},
		"it is deleted meanwhile":    {&apiserver{deleted: true, pods: [][]string{{"-a"}, {}}}, true, "", "[a (terminating)]"},
		"there is no Deployment":     {&apiserver{}, false, "", ""},
		"one does not end":           {&apiserver{replicas: []int{0}, pods: [][]string{{"-a", "b"}}}, true, ErrStillRunning.Error() + " after 4s: a (terminating), b", "[a (terminating) b]"},
		"it is scaled up again":      {&apiserver{replicas: []int{1}, wanted: 2}, true, "scaled to 2 again", ""},
		"it may not list pods":       {&apiserver{noList: true}, true, "list the pods of deployment fleet-patcher: may not list pods", ""},
		"all pods would be selected": {&apiserver{noSelector: true}, true, "does not say which pods", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits more than it does
			c.api.exists = c.found
			var waited []string
			found, err := ScaleDown(t.Context(), c.api.client(t), "fleet", "fleet-patcher", 4*time.Second, func(pods []string) {
				waited = append(waited, fmt.Sprint(pods))
			})
			if found != c.found || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("found %v, %v", found, err)
			}
			if got := strings.Join(waited, " "); got != c.waited {
				t.Errorf("waited for %s, want %s", got, c.waited)
			}
			c.api.mu.Lock()
			defer c.api.mu.Unlock()
			if c.api.asked[0] != "PATCH "+scalePath+` {"spec":{"replicas":0}}` ||
				slices.ContainsFunc(c.api.asked[1:], func(a string) bool { return a != "GET "+scalePath && a != "GET "+podsPath }) {
				t.Errorf("asked %q", c.api.asked)
			}
		})
	}
}

func TestScaleDown_EndsWithItsContext(t *testing.T) {
	api := apiserver{exists: true, replicas: []int{1}}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := ScaleDown(ctx, api.client(t), "fleet", "fleet-patcher", time.Minute, func([]string) {}); !errors.Is(err, ErrStillRunning) {
		t.Errorf("%v", err)
	}
}

func TestReleaseFinalizers_AsksForNothingButItsKinds(t *testing.T) {
	api := apiserver{}
	done, err := ReleaseFinalizers(t.Context(), api.client(t), "fleet", Options{Progress: func([]Released) {}, Waiting: func() {}})
	if err != nil || len(done) != 2 || !done[0].Missing || !done[1].Missing {
		t.Errorf("%+v, %v", done, err)
	}
	for _, a := range api.asked {
		if !strings.HasPrefix(a, "GET /apis/fleet.harmony.dev/v1alpha1/namespaces/fleet/") {
			t.Errorf("asked %q", a)
		}
	}
}

func TestConnect_SaysThatNoClusterIsKnown(t *testing.T) {
	if _, err := Connect("", func(string) string { return "" }, "test"); !errors.Is(err, ErrNoCluster) {
		t.Errorf("%v", err)
	}
	if _, err := Connect("/nowhere", func(string) string { return "" }, "test"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
