package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/fleettest/kubetest"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/rpc"
	"harmony.dev/fleet/service"
	"harmony.dev/services/patcher/kube"
)

// soon bounds how long anything may take that takes milliseconds on an idle machine.
const soon = 30 * time.Second

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// rig is one fleet: a NATS server, a namespace, and whoever a test starts.
type rig struct {
	t         *testing.T
	ctx       context.Context
	nats      *fleettest.Server
	nc        *nats.Conn
	api       *kubetest.Server
	namespace string
	client    dynamic.Interface
	granted   int // roles
}

func newRig(t *testing.T, opts ...fleettest.Option) *rig {
	t.Helper()
	api := kubetest.KubeAPI(t)
	api.ApplyCRDs(t, repository("deploy", "crds"))
	server := fleettest.NATS(t, opts...)
	return &rig{
		t: t, ctx: t.Context(), nats: server, nc: server.Conn(t),
		api: api, namespace: api.Namespace(t), client: api.Dynamic,
	}
}

// patcher is a replica of the service under test.
type patcher struct {
	rig      *rig
	instance string
	cancel   context.CancelFunc
	done     chan int
	log      *fleettest.Buffer
}

// start runs a replica until the test ends or it is stopped.
func (r *rig) start(instance string, args ...string) *patcher {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &patcher{rig: r, instance: instance, cancel: cancel, done: make(chan int, 1), log: &fleettest.Buffer{}}
	args = append([]string{
		fleet.ServicePatcher, "--nats-url", r.nats.URL(), "--fleet", r.namespace, "--instance", instance,
		"--kubeconfig", r.api.Kubeconfig, "--http-listen", "", "--lease-ttl", "2s", "--log-level", "debug",
	}, args...)
	go func() {
		p.done <- service.Main(ctx, args, func(string) string { return "" }, p.log, p.log, spec())
	}()
	r.t.Cleanup(func() {
		p.stop()
		if r.t.Failed() {
			r.t.Logf("log of %s:\n%s", instance, p.log)
		}
	})
	return p
}

// ready starts a replica and waits until it is settled as the holder.
func (r *rig) ready(instance string, args ...string) *patcher {
	r.t.Helper()
	p := r.start(instance, args...)
	r.eventually(instance+" is ready and holds the lease", func() bool {
		h, ok := p.health()
		return ok && h.State == fleet.StateReady && h.Lease != nil && h.Lease.Held
	})
	return p
}

// stop ends the replica as SIGTERM does.
func (p *patcher) stop() {
	p.rig.t.Helper()
	p.cancel()
	select {
	case code, running := <-p.done:
		if running && code != 0 {
			p.rig.t.Errorf("%s ended with exit code %d", p.instance, code)
		}
		if running {
			close(p.done)
		}
	case <-time.After(soon):
		p.rig.t.Errorf("%s does not end", p.instance)
	}
}

// health asks the replica how it is.
func (p *patcher) health() (fleet.Health, bool) {
	all, err := rpc.CallEvery[service.HealthRequest, fleet.Health](p.rig.ctx, p.rig.nc,
		fleet.HealthEndpoint(fleet.ServicePatcher), service.HealthRequest{}, 200*time.Millisecond)
	if err != nil {
		return fleet.Health{}, false
	}
	for _, h := range all {
		if h.Instance == p.instance {
			return h, true
		}
	}
	return fleet.Health{}, false
}

func (p *patcher) reasons() string {
	h, _ := p.health()
	var reasons []string
	for _, r := range h.Reasons {
		reasons = append(reasons, r.Reason)
	}
	return strings.Join(reasons, " ")
}

func (r *rig) eventually(what string, cond func() bool) {
	r.t.Helper()
	fleettest.Eventually(r.t, soon, what, cond)
}

// entry is what the mirror holds under a key.
type entry struct {
	value    string
	revision uint64
	epoch    uint64
	op       string // the KV-Operation header, "" for a put
	ttl      string
}

// get reads the last message of a key of a bucket; ok is false when there is none.
func (r *rig) get(bucket, key string) (e entry, ok bool) {
	r.t.Helper()
	js, err := r.nc.JetStream()
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := js.GetLastMsg(fleet.StreamName(bucket), fleet.KeySubject(bucket, key))
	if err != nil {
		return entry{}, false
	}
	epoch, _ := fleet.ParseEpoch(m.Header.Get(fleet.HeaderEpoch))
	return entry{
		value: string(m.Data), revision: m.Sequence, epoch: epoch,
		op: m.Header.Get("KV-Operation"), ttl: m.Header.Get("Nats-TTL"),
	}, true
}

func (r *rig) mirror(key string) entry {
	r.t.Helper()
	e, _ := r.get(fleet.BucketResources, key)
	return e
}

// mirrored waits until the mirror has a value under a key that contains a text.
func (r *rig) mirrored(key, text string) entry {
	r.t.Helper()
	r.eventually(fmt.Sprintf("the mirror has %s under %s", text, key), func() bool {
		e := r.mirror(key)
		return e.epoch != 0 && strings.Contains(e.value, text)
	})
	return r.mirror(key)
}

// publish writes raw bytes, as somebody else would.
func (r *rig) publish(bucket, key, value string, header nats.Header) {
	r.t.Helper()
	js, err := r.nc.JetStream()
	if err != nil {
		r.t.Fatal(err)
	}
	m := &nats.Msg{Subject: fleet.KeySubject(bucket, key), Data: []byte(value), Header: header}
	if _, err := js.PublishMsg(m); err != nil {
		r.t.Fatalf("publish %s: %v", key, err)
	}
}

func (r *rig) resources(k kube.Kind) dynamic.ResourceInterface {
	gvr := schema.GroupVersionResource{Group: fleet.Group, Version: fleet.Version, Resource: k.Resource}
	return r.client.Resource(gvr).Namespace(r.namespace)
}

func (r *rig) read(k kube.Kind, name string) *unstructured.Unstructured {
	r.t.Helper()
	u, err := r.resources(k).Get(r.ctx, name, metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return u
}

func (r *rig) create(k kube.Kind, name string, spec map[string]any) *unstructured.Unstructured {
	r.t.Helper()
	resource := map[string]any{
		"apiVersion": kube.APIVersion, "kind": k.Name,
		"metadata": map[string]any{"name": name}, "spec": spec,
	}
	u, err := r.resources(k).Create(r.ctx, &unstructured.Unstructured{Object: resource}, metav1.CreateOptions{FieldManager: "test"})
	if err != nil {
		r.t.Fatal(err)
	}
	return u
}

func (r *rig) patch(k kube.Kind, name, merge string, subresources ...string) *unstructured.Unstructured {
	r.t.Helper()
	u, err := r.resources(k).Patch(r.ctx, name, "application/merge-patch+json", []byte(merge), metav1.PatchOptions{FieldManager: "test"}, subresources...)
	if err != nil {
		r.t.Fatalf("patch %s %s with %s: %v", k.Name, name, merge, err)
	}
	return u
}

func (r *rig) delete(k kube.Kind, name string) {
	r.t.Helper()
	if err := r.resources(k).Delete(r.ctx, name, metav1.DeleteOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func selecting(region string) map[string]any {
	return map[string]any{
		"targetSelector": map[string]any{"matchLabels": map[string]any{"region": region}},
		"score":          map[string]any{"type": "sim", "data": map[string]any{"n": int64(1)}},
	}
}

// sender stands for the holder of another service.
type sender struct {
	rig    *rig
	name   string
	cancel context.CancelFunc
	epochs chan uint64
	next   chan struct{}
	epoch  uint64
}

// sender takes the lease of another service's bucket and an epoch.
func (r *rig) sender(name string) *sender {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &sender{rig: r, name: name, cancel: cancel, epochs: make(chan uint64), next: make(chan struct{})}
	bucket := kv.Open(r.nc, fleet.LeaseBucket(name), kv.Provisioning{Fleet: r.namespace})
	elector := kv.NewElector(kv.ElectorConfig{Bucket: bucket, Own: true, Instance: "test", Log: slog.New(slog.DiscardHandler)})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = elector.Run(ctx, s.hold)
	}()
	r.t.Cleanup(func() { cancel(); <-done })
	s.epoch = s.receive()
	return s
}

func (s *sender) hold(ctx context.Context, term *kv.Term) error {
	for {
		epoch, err := term.NewEpoch(ctx)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s.epochs <- epoch:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.next:
		}
	}
}

// renew takes a newer epoch, as a successor would.
func (s *sender) renew() {
	s.rig.t.Helper()
	s.next <- struct{}{}
	s.epoch = s.receive()
}

func (s *sender) receive() uint64 {
	s.rig.t.Helper()
	select {
	case epoch := <-s.epochs:
		return epoch
	case <-time.After(soon):
		s.rig.t.Fatalf("%s gets no epoch", s.name)
		return 0
	}
}

func (s *sender) from() fleet.Sender { return fleet.Sender{Service: s.name, Epoch: s.epoch} }

// ask sends a request to the patcher.
func ask[Req any](r *rig, ep fleet.Endpoint, req Req) (string, error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, soon)
	defer cancel()
	resp, err := rpc.Call[Req, fleet.ApplyResponse](ctx, r.nc, ep, req)
	return resp.Result, err
}

// want checks an answer: a result, or a code and a reason such as "409 SeqStale".
func (r *rig) want(result string, err error, expected string) {
	r.t.Helper()
	got := result
	if err != nil {
		got = err.Error()
		if e := new(fleet.Error); errors.As(err, &e) {
			got = fmt.Sprintf("%d %s", e.Code, e.Reason)
		}
	}
	if got != expected {
		r.t.Fatalf("got %q (%v), want %q", got, err, expected)
	}
}

func decodeJSON(t *testing.T, s string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), v); err != nil {
		t.Fatalf("decode %s: %v", s, err)
	}
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// repository returns a path below the root of the repository.
func repository(path ...string) string {
	return filepath.Join(append([]string{"..", ".."}, path...)...)
}

// keys returns the revision of every key of a bucket that does not begin with "_".
func (r *rig) keys(bucket string) map[string]uint64 {
	r.t.Helper()
	js, err := r.nc.JetStream()
	if err != nil {
		r.t.Fatal(err)
	}
	kv, err := js.KeyValue(bucket)
	if err != nil {
		r.t.Fatal(err)
	}
	names, err := kv.Keys()
	if err != nil {
		r.t.Fatal(err)
	}
	keys := map[string]uint64{}
	for _, name := range names {
		if !fleet.IsReserved(name) {
			e, _ := r.get(bucket, name)
			keys[name] = e.revision
		}
	}
	return keys
}

// versions returns the resource version of every resource.
func (r *rig) versions() map[string]string {
	r.t.Helper()
	versions := map[string]string{}
	for _, k := range kube.Kinds() {
		list, err := r.resources(k).List(r.ctx, metav1.ListOptions{})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, u := range list.Items {
			versions[k.Resource+"/"+u.GetName()] = u.GetResourceVersion()
		}
	}
	return versions
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	decodeJSON(t, a, &x)
	decodeJSON(t, b, &y)
	return reflect.DeepEqual(x, y)
}

func atTime(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
