package cluster

import (
	"context"
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
)

// apiserver answers as the API would for apps/v1, which the API that tests have does not serve. It records what it is
// asked.
type apiserver struct {
	mu       sync.Mutex
	asked    []string
	replicas []int // that are left, by each question
	wanted   int
	exists   bool
}

func (a *apiserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	a.asked = append(a.asked, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+string(body)))
	w.Header().Set("Content-Type", "application/json")
	if !a.exists || r.URL.Path != "/apis/apps/v1/namespaces/fleet/deployments/fleet-patcher/scale" {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
		return
	}
	left := a.replicas[0]
	if r.Method == http.MethodGet && len(a.replicas) > 1 {
		a.replicas = a.replicas[1:]
	}
	_, _ = fmt.Fprintf(w, `{"kind":"Scale","apiVersion":"autoscaling/v1","metadata":{"name":"fleet-patcher","namespace":"fleet"},"spec":{"replicas":%d},"status":{"replicas":%d}}`, a.wanted, left)
}

func (a *apiserver) client(t *testing.T) Client {
	t.Helper()
	s := httptest.NewServer(a)
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
	const scale = "/apis/apps/v1/namespaces/fleet/deployments/fleet-patcher/scale"
	for name, c := range map[string]*struct {
		api   *apiserver
		found bool
		err   string
		asked int // at least
	}{
		"two replicas end":       {&apiserver{exists: true, replicas: []int{2, 2, 1, 0}}, true, "", 5},
		"none was left":          {&apiserver{exists: true, replicas: []int{0}}, true, "", 2},
		"there is no Deployment": {&apiserver{}, false, "", 1},
		"one does not end":       {&apiserver{exists: true, replicas: []int{1}}, true, ErrStillRunning.Error(), 3},
		"it is scaled up again":  {&apiserver{exists: true, replicas: []int{1}, wanted: 2}, true, "scaled to 2 again", 2},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := ScaleDown(t.Context(), c.api.client(t), "fleet", "fleet-patcher", 2*time.Second)
			if found != c.found || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("found %v, %v", found, err)
			}
			c.api.mu.Lock()
			defer c.api.mu.Unlock()
			if len(c.api.asked) < c.asked || c.api.asked[0] != "PATCH "+scale+` {"spec":{"replicas":0}}` ||
				slices.ContainsFunc(c.api.asked[1:], func(a string) bool { return a != "GET "+scale }) {
				t.Errorf("asked %q", c.api.asked)
			}
		})
	}
}

func TestScaleDown_EndsWithItsContext(t *testing.T) {
	api := apiserver{exists: true, replicas: []int{1}}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := ScaleDown(ctx, api.client(t), "fleet", "fleet-patcher", time.Minute); !errors.Is(err, ErrStillRunning) {
		t.Errorf("%v", err)
	}
}

func TestReleaseFinalizers_AsksForNothingButItsKinds(t *testing.T) {
	api := apiserver{}
	done, err := ReleaseFinalizers(t.Context(), api.client(t), "fleet", func([]Released) {})
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
