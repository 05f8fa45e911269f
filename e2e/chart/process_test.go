package chart

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/child"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/service"
)

// running is a service as its pod would run it.
type running struct {
	t       testing.TB
	service string
	process *child.Process
	log     *fleettest.Buffer
	address string // file with where it serves HTTP
}

// start runs the binary of a service with exactly the environment that was rendered for its pod. Different are only where it
// listens, where the files of its volume are, that it ends with the test, and for the patcher the way to its account's
// token.
func start(t testing.TB, all objects, name, kubeconfig string) *running {
	t.Helper()
	volume := mount(t, all, name, nil)
	r := &running{t: t, service: name, log: &fleettest.Buffer{}, address: filepath.Join(t.TempDir(), "http")}
	vars := env(podsOf(t, all)[name].Spec.Containers[0])
	vars["FLEET_HTTP_LISTEN"], vars["FLEET_HTTP_ADDRESS_FILE"] = "127.0.0.1:0", r.address
	vars["FLEET_EXIT_WITH_PARENT"], vars["FLEET_KUBECONFIG"] = "true", kubeconfig
	environ := service.WithoutSettings(os.Environ())
	for variable, value := range vars {
		environ = append(environ, variable+"="+strings.ReplaceAll(value, natsDir, volume))
	}
	p, err := child.Start(child.Spec{
		Name: name, Path: filepath.Join(lab.BinDir(t), "fleet-"+name), Env: environ, Stdout: r.log, Stderr: r.log,
	})
	if err != nil {
		t.Fatalf("start %s ('make build' builds it): %v", name, err)
	}
	r.process = p
	t.Cleanup(func() {
		_ = p.Kill()
		if t.Failed() {
			t.Logf("log of the %s:\n%s", name, r.log)
		}
	})
	return r
}

// get asks over HTTP.
func (r *running) get(path string) (status int, body string, err error) {
	address, err := os.ReadFile(r.address)
	if err != nil {
		return 0, "", err
	}
	return fetch(r.t, "http://"+strings.TrimSpace(string(address))+path)
}

func (r *running) ready() error {
	status, body, err := r.get("/readyz")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the %s is not ready: %s", r.service, body)
	}
	return err
}

func (r *running) health() (h fleet.Health) {
	r.t.Helper()
	_, body, err := r.get("/readyz")
	if err == nil {
		err = json.Unmarshal([]byte(body), &h)
	}
	if err != nil {
		r.t.Fatalf("the health of the %s: %v", r.service, err)
	}
	return h
}

func (r *running) metrics() string {
	r.t.Helper()
	_, body, err := r.get("/metrics")
	if err != nil {
		r.t.Fatalf("the metrics of the %s: %v", r.service, err)
	}
	return body
}

// stop ends it as the kubelet does.
func (r *running) stop() error {
	if err := r.process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case <-r.process.Done():
		return r.process.Err()
	case <-time.After(30 * time.Second):
		return fmt.Errorf("the %s does not end", r.service)
	}
}
