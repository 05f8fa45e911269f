// Package compose tests docker-compose.yml and its overlay as they are shipped, on a real engine: from nothing to a
// Deployment that is Ready, and back to nothing.
package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"harmony.dev/e2e/lab"
	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest/kubetest"
	"harmony.dev/fleet/rpc"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// namespace is the fleet of docker-compose.yml.
const namespace = "fleet"

// stack is a project that was started, seen from this machine.
type stack struct {
	*lab.Project
	t    *testing.T
	kube *kubetest.Server
	nc   *nats.Conn
}

func TestCompose_FromNothing(t *testing.T) {
	s := &stack{Project: lab.Shipped(t), t: t}
	s.step("up -d until all is healthy", func() {
		s.must(s.Compose(t.Context(), "up", "-d"))
		s.healthy("nats", "k3s", "patcher", "reconciler", "aggregator")
	})
	s.connect()
	s.step("a Deployment applied through the port of k3s is Ready", func() {
		s.apply("web-north.yaml")
		s.ready("web-north")
	})
	s.dashboard("well")
	t.Run("versions agree", s.versions)
	t.Run("least privilege", s.privileges)
	s.step("two replicas of each service", func() {
		s.must(s.Compose(t.Context(), "up", "-d", "--scale", "patcher=2", "--scale", "reconciler=2", "--scale", "aggregator=2"))
		s.healthy("patcher", "reconciler", "aggregator")
		s.instances(2)
	})
	t.Run("a killed service is started again", func(t *testing.T) { s.restarted("reconciler") })
	t.Run("data outlasts all containers", s.outlasts)
	s.step("down -v", func() { s.must(s.Compose(t.Context(), "down", "-v")) })
	if left, err := s.Left(t.Context()); err != nil || left != "" {
		t.Errorf("after down -v there is %q, %v", left, err)
	}
}

// The overlay: three servers, three replicas of each bucket, and one server may die.
func TestCompose_Cluster(t *testing.T) {
	s := &stack{Project: lab.Shipped(t), t: t}
	s.step("up -d with three NATS servers", func() {
		s.must(s.Cluster(t.Context(), "up", "-d"))
		s.healthy("nats", "nats-2", "nats-3", "k3s", "patcher", "reconciler", "aggregator")
	})
	s.connect()
	s.apply("web-north.yaml")
	s.ready("web-north")
	for _, bucket := range record.Buckets() {
		if got := s.replicas(bucket); got != 3 {
			t.Errorf("%s has %d replicas", bucket, got)
		}
	}
	s.restarted("nats-3")
	s.apply("telemetry.yaml")
	s.ready("telemetry")
}

// step runs a step and measures it.
func (s *stack) step(what string, f func()) {
	s.t.Helper()
	began := time.Now()
	f()
	s.t.Logf("%s: %s", what, time.Since(began).Round(100*time.Millisecond))
}

func (s *stack) must(out string, err error) string {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// eventually waits until cond returns nil.
func (s *stack) eventually(what string, cond func(ctx context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 90*time.Second)
	defer cancel()
	for {
		err := cond(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s: %v", what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// dashboard waits until the page that people see first says that all is so.
func (s *stack) dashboard(state string) {
	s.t.Helper()
	s.eventually("the dashboard says "+state, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", lab.DashboardPort), nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		page, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		if !strings.Contains(string(page), `data-state="`+state+`"`) || !strings.Contains(string(page), `id="dep-web-north"`) {
			return fmt.Errorf("it says otherwise: %.3000s", page)
		}
		return nil
	})
}

// healthy waits until the health checks of all containers of services pass.
func (s *stack) healthy(services ...string) {
	s.t.Helper()
	for _, service := range services {
		s.eventually(service+" is healthy", func(ctx context.Context) error {
			for _, id := range s.containers(service) {
				state, err := lab.Docker(ctx, "inspect", "--format", "{{.State.Health.Status}}", id)
				if err != nil {
					return err
				}
				if state != "healthy" {
					return errors.New(state)
				}
			}
			return nil
		})
	}
}

func (s *stack) containers(service string) []string {
	s.t.Helper()
	ids, err := s.Containers(s.t.Context(), service)
	if err != nil || len(ids) == 0 {
		s.t.Fatalf("the containers of %s: %v, %v", service, ids, err)
	}
	return ids
}

// connect reaches the API and NATS by their ports on 127.0.0.1.
func (s *stack) connect() {
	s.t.Helper()
	var err error
	if s.kube, err = s.Connect(s.t.Context()); err != nil {
		s.t.Fatalf("reach k3s: %v", err)
	}
	if s.nc, err = nats.Connect(s.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.IgnoreDiscoveredServers()); err != nil {
		s.t.Fatalf("reach NATS: %v", err)
	}
	s.t.Cleanup(s.nc.Close)
}

var deployments = schema.GroupVersionResource{Group: fleet.Group, Version: fleet.Version, Resource: fleet.ResourceDeployments}

// apply applies one of the examples.
func (s *stack) apply(example string) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(lab.Root(s.t), "examples", example))
	if err != nil {
		s.t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(text, &u.Object); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.kube.Dynamic.Resource(deployments).Namespace(namespace).Apply(s.t.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "test"}); err != nil {
		s.t.Fatalf("apply %s: %v", example, err)
	}
}

// ready waits until a Deployment is Ready on some device.
func (s *stack) ready(name string) {
	s.t.Helper()
	s.eventually(name+" is Ready", func(ctx context.Context) error {
		u, err := s.kube.Dynamic.Resource(deployments).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		text, err := json.Marshal(u.Object["status"])
		if err != nil {
			return err
		}
		var status fleet.DeploymentStatus
		if err := json.Unmarshal(text, &status); err != nil {
			return err
		}
		if c := lab.Condition(status, fleet.ConditionReady); c.Status != fleet.ConditionTrue || status.Aggregate.Running == 0 {
			return fmt.Errorf("status %s", text)
		}
		return nil
	})
}

// instances waits until so many of each service answer, all ready.
func (s *stack) instances(n int) {
	s.t.Helper()
	for _, service := range fleet.Services() {
		s.eventually(fmt.Sprintf("%d of %s answer", n, service), func(ctx context.Context) error {
			all, err := rpc.CallEvery[struct{}, fleet.Health](ctx, s.nc, fleet.HealthEndpoint(service), struct{}{}, 500*time.Millisecond)
			if err == nil && len(all) != n {
				err = fmt.Errorf("%d", len(all))
			}
			for _, h := range all {
				if !h.Ready {
					err = errors.Join(err, fmt.Errorf("%s is %s", h.Instance, h.State))
				}
			}
			return err
		})
	}
}

// versions compares what a binary, its image and its micro service say.
func (s *stack) versions(t *testing.T) {
	for _, service := range fleet.Services() {
		image := "harmony-fleet/" + strings.TrimPrefix(service, "fleet-") + ":devel"
		prints := s.must(lab.Docker(t.Context(), "run", "--rm", "--network", "none", image, "--version"))
		label := s.must(lab.Docker(t.Context(), "image", "inspect", "--format", `{{index .Config.Labels "org.opencontainers.image.version"}}`, image))
		h, err := rpc.Call[struct{}, fleet.Health](t.Context(), s.nc, fleet.HealthEndpoint(service), struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		if label == "" || !strings.HasSuffix(prints, " "+label) || h.Version != label {
			t.Errorf("%s: the binary says %q, its image %q, health %q", service, prints, label, h.Version)
		}
		info, err := s.nc.RequestWithContext(t.Context(), "$SRV.INFO."+service, nil)
		if err != nil {
			t.Fatal(err)
		}
		var said struct{ Metadata map[string]string }
		if err := json.Unmarshal(info.Data, &said); err != nil || said.Metadata["version"] != label {
			t.Errorf("%s: the metadata of the micro service does not say %q: %s (%v)", service, label, info.Data, err)
		}
	}
}

// privileges looks at how the containers run: as nobody, on a file system that they cannot write to, and reachable from
// this machine alone.
func (s *stack) privileges(t *testing.T) {
	for service, memory := range map[string]int{"patcher": 512 << 20, "reconciler": 512 << 20, "aggregator": 512 << 20, "devices": 1 << 30, "dashboard": 256 << 20} {
		for _, id := range s.containers(service) {
			got := s.must(lab.Docker(t.Context(), "inspect", "--format", "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.Memory}} {{len .HostConfig.PortBindings}}", id))
			ports := 0
			if service == "dashboard" {
				ports = 1
			}
			if want := fmt.Sprintf("65532:65532 true [ALL] %d %d", memory, ports); got != want {
				t.Errorf("%s runs with %q, want %q", service, got, want)
			}
		}
	}
	for _, service := range []string{"nats", "k3s", "dashboard"} {
		for _, id := range s.containers(service) {
			ports := s.must(lab.Docker(t.Context(), "port", id))
			for line := range strings.Lines(ports) {
				if !strings.Contains(line, "-> 127.0.0.1:") {
					t.Errorf("%s listens on %s", service, line)
				}
			}
		}
	}
}

// restarted kills the main process of a service's container, and waits until the engine has started it again.
func (s *stack) restarted(service string) {
	s.t.Helper()
	id := s.containers(service)[0]
	text := s.must(lab.Docker(s.t.Context(), "inspect", "--format", "{{.State.Pid}}", id))
	pid, err := strconv.Atoi(text)
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		s.t.Fatalf("kill %s, process %q: %v", service, text, err)
	}
	s.eventually(service+" runs again", func(ctx context.Context) error {
		now, err := lab.Docker(ctx, "inspect", "--format", "{{.State.Pid}}", id)
		if err == nil && (now == text || now == "0") {
			err = fmt.Errorf("its process is %s", now)
		}
		return err
	})
	s.healthy(service)
}

// outlasts removes all containers and starts new ones on the volumes: nothing is written to a resource.
func (s *stack) outlasts(t *testing.T) {
	before := s.versionsOfResources()
	s.must(s.Compose(t.Context(), "down"))
	s.must(s.Compose(t.Context(), "up", "-d"))
	s.healthy("nats", "k3s", "patcher", "reconciler", "aggregator")
	s.instances(1)
	s.ready("web-north")
	if after := s.versionsOfResources(); after != before {
		t.Errorf("resources were %s, and are %s", before, after)
	}
}

// versionsOfResources are the resourceVersions of all Deployments.
func (s *stack) versionsOfResources() string {
	s.t.Helper()
	list, err := s.kube.Dynamic.Resource(deployments).Namespace(namespace).List(s.t.Context(), metav1.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, u := range list.Items {
		out = append(out, u.GetName()+"="+u.GetResourceVersion())
	}
	return strings.Join(out, " ")
}

// replicas is how many copies the cluster keeps of a bucket.
func (s *stack) replicas(bucket string) int {
	s.t.Helper()
	js, err := s.nc.JetStream()
	if err != nil {
		s.t.Fatal(err)
	}
	info, err := js.StreamInfo(fleet.StreamName(bucket))
	if err != nil {
		s.t.Fatalf("ask for the stream of %s: %v", bucket, err)
	}
	return info.Config.Replicas
}
