package chart

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// soon bounds what takes seconds on an idle machine.
const soon = 60 * time.Second

// installed is what an installation with default values makes, as processes: the three services with the rendered
// environment, and accounts and permissions as rendered. It is without containers, and so without kubelet and controllers.
type installed struct {
	*lab.Stack
	t        *testing.T
	release  release
	objects  objects
	services map[string]*running
}

func install(t *testing.T) *installed {
	s := &installed{Stack: lab.New(t, lab.Options{Shipped: true}), t: t, services: map[string]*running{}}
	s.release = release{"harmony-fleet", s.Fleet}
	s.objects = s.release.render(t, "--set", "nats.url="+s.NATS.URL())
	grant(t, s.Kube, s.objects.where(func(u *unstructured.Unstructured) bool { return !isHook(u) }))
	patcher := account(t, s.Kube, s.Fleet, podsOf(t, s.objects)["patcher"].Spec.ServiceAccountName)
	for _, name := range services {
		file := ""
		if name == "patcher" {
			file = kubeconfig(t, patcher)
		}
		s.services[name] = start(t, s.objects, name, file)
	}
	s.Eventually(soon, "the services are ready", func(context.Context) error {
		var all []error
		for _, r := range s.services {
			all = append(all, r.ready())
		}
		return errors.Join(all...)
	})
	return s
}

// TestInstalled_ThePatcherMayDoWhatItNeedsAndNothingElse runs the operator through all that it does to the API, by the
// token of the rendered account, and then asks for every other call.
func TestInstalled_ThePatcherMayDoWhatItNeedsAndNothingElse(t *testing.T) {
	s := install(t)
	s.useEverything()
	used := s.usedByThePatcher()
	places := map[string]string{"fleet": s.Fleet, "elsewhere": s.Kube.Namespace(t), "cluster": ""}

	granted := rulesOf(t, s.objects.of("patcher"), places)
	compare(t, "the patcher was seen to", used, granted)

	calls := questions(t, s.Kube, places)
	t.Logf("%d calls were asked for", len(calls))
	for _, name := range services {
		cfg := account(t, s.Kube, s.Fleet, podsOf(t, s.objects)[name].Spec.ServiceAccountName)
		want := everybody(places)
		if name == "patcher" {
			want = withEverybody(expectedOfThePatcher, places)
		}
		compare(t, "the "+name+" may", allowed(t, cfg, calls), want)
	}
	s.refused()
	s.complaints()
}

// expectedOfThePatcher is written down here a second time: who widens the Role has to say so.
var expectedOfThePatcher = []string{
	"fleet: list deployments.fleet.harmony.dev", "fleet: watch deployments.fleet.harmony.dev", "fleet: patch deployments.fleet.harmony.dev",
	"fleet: patch deployments/status.fleet.harmony.dev",
	"fleet: list devices.fleet.harmony.dev", "fleet: watch devices.fleet.harmony.dev", "fleet: patch devices.fleet.harmony.dev",
	"fleet: create devices.fleet.harmony.dev", "fleet: patch devices/status.fleet.harmony.dev",
	"fleet: get events", "fleet: create events", "fleet: patch events",
}

// useEverything has resources of either kind created, changed and deleted, and Events written.
func (s *installed) useEverything() {
	s.StartDevices(4)
	s.AwaitDevices(soon, 4, "dev-")
	s.API.Apply(lab.Deployment{Name: "web", Selector: fleet.Selector{MatchLabels: map[string]string{"region": "north"}}})
	s.API.Apply(lab.Deployment{Name: "edge", Selector: fleet.Selector{MatchLabels: map[string]string{"tier": "edge"}}})
	s.awaitRunning("web", 1)
	s.API.Label("dev-0002", "tier", "edge")
	s.awaitRunning("edge", 1)

	s.API.CreateDevice("by-hand", map[string]string{"region": "north"})
	s.Eventually(soon, "the Device made by hand has finalizers", func(ctx context.Context) error {
		u, err := s.API.Get(ctx, fleet.KindDevice, "by-hand")
		if err == nil && len(u.GetFinalizers()) == 0 {
			err = errors.New("it has none")
		}
		return err
	})
	s.recordTwice("edge")
	for kind, name := range map[string]string{fleet.KindDevice: "by-hand", fleet.KindDeployment: "web"} {
		s.API.Delete(kind, name)
		s.Eventually(soon, name+" is gone", func(ctx context.Context) error { return s.API.Gone(ctx, kind, name) })
	}
}

func (s *installed) awaitRunning(name string, devices int) {
	s.Eventually(soon, fmt.Sprintf("%s runs on %d", name, devices), func(ctx context.Context) error {
		status, raw, err := s.API.Status(ctx, name)
		if err != nil {
			return err
		}
		if ready := lab.Condition(status, "Ready"); ready.Status != "True" || status.Aggregate.Running != devices {
			return errors.New(raw)
		}
		return nil
	})
}

// recordTwice asks for an Event as the reconciler does when it holds deletes back, and again.
func (s *installed) recordTwice(name string) {
	u, err := s.API.Get(s.t.Context(), fleet.KindDeployment, name)
	if err != nil {
		s.t.Fatal(err)
	}
	for range 2 {
		event := fleet.EventRecordRequest{
			Sender: fleet.Sender{Service: fleet.ServiceReconciler, Epoch: s.Epoch(fleet.BucketDesiredState)},
			Kind:   fleet.KindDeployment, Name: name, UID: string(u.GetUID()), Type: "Warning", Reason: fleet.ReasonHeld, Message: "a test",
		}
		if _, err := rpc.Call[fleet.EventRecordRequest, fleet.EventRecordResponse](s.t.Context(), s.Conn(), fleet.EventRecord, event); err != nil {
			s.t.Fatalf("record an event: %v", err)
		}
	}
	events, err := s.Kube.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(s.Fleet).
		List(s.t.Context(), metav1.ListOptions{FieldSelector: "reason=" + fleet.ReasonHeld})
	if err != nil || len(events.Items) != 1 || events.Items[0].Object["count"] != int64(2) {
		s.t.Errorf("the events are %v, %v; want one that was counted up", events, err)
	}
}

var requestLine = regexp.MustCompile(`(?m)^fleet_patcher_api_request_seconds_count\{resource="([^"]+)",result="([^"]+)",verb="([^"]+)"\} [1-9]`)

// usedByThePatcher are the calls that its own metrics say worked.
func (s *installed) usedByThePatcher() []string {
	var used []string
	for _, m := range requestLine.FindAllStringSubmatch(s.services["patcher"].metrics(), -1) {
		group := fleet.Group
		if m[1] == "events" {
			group = ""
		}
		switch m[2] {
		case "ok":
			used = append(used, question{"fleet", "", m[3], schema.GroupResource{Group: group, Resource: m[1]}, ""}.String())
		case "Forbidden":
			s.t.Errorf("the patcher may not %s %s", m[3], m[1])
		}
	}
	return used
}

// refused makes some of the calls that are not allowed.
func (s *installed) refused() {
	client, err := dynamic.NewForConfig(account(s.t, s.Kube, s.Fleet, s.release.name+"-patcher"))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx := s.t.Context()
	devices := client.Resource(schema.GroupVersionResource{Group: fleet.Group, Version: fleet.Version, Resource: "devices"})
	secrets := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"})
	_, everywhere := devices.List(ctx, metav1.ListOptions{})
	_, secret := secrets.Namespace(s.Fleet).List(ctx, metav1.ListOptions{})
	for what, err := range map[string]error{
		"delete a Device":               devices.Namespace(s.Fleet).Delete(ctx, "dev-0001", metav1.DeleteOptions{}),
		"list Devices of all the fleet": everywhere, "list secrets": secret,
	} {
		if !apierrors.IsForbidden(err) {
			s.t.Errorf("%s: %v, want it forbidden", what, err)
		}
	}
}

// complaints fails when a service says that something is not allowed, or logs what is no JSON.
func (s *installed) complaints() {
	for name, r := range s.services {
		for _, reason := range r.health().Reasons {
			s.t.Errorf("the %s says: %s: %s", name, reason.Reason, reason.Message)
		}
		for line := range strings.Lines(r.log.String()) {
			if strings.Contains(strings.ToLower(line), "forbidden") || !json.Valid([]byte(line)) {
				s.t.Errorf("the %s logs: %s", name, line)
			}
		}
	}
}

// fetch gets a page on a connection of its own: none is to outlast the test.
func fetch(t testing.TB, url string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}
