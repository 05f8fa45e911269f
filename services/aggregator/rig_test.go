package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/rpc"
	"harmony.dev/fleet/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon bounds how long anything may take that takes milliseconds on an idle machine.
const soon = 30 * time.Second

// rig is one fleet: a NATS server, and the test in the roles of reconciler, agents and apiserver.
type rig struct {
	t       *testing.T
	ctx     context.Context
	nats    *fleettest.Server
	nc      *nats.Conn
	patcher *patcher

	mu    sync.Mutex
	beats map[fleet.DeviceID]bool // devices that send heartbeats
}

// newRig starts a server with a whole and empty mirror, an empty desired-state, and a patcher.
func newRig(t *testing.T) *rig {
	t.Helper()
	server := fleettest.NATS(t)
	r := &rig{t: t, ctx: t.Context(), nats: server, nc: server.Conn(t), beats: map[fleet.DeviceID]bool{}}
	for _, name := range []string{fleet.BucketResources, fleet.BucketDesiredState} {
		if err := r.bucket(name).Ensure(r.ctx); err != nil {
			t.Fatal(err)
		}
	}
	r.serve()
	r.patcher = newPatcher(r)
	return r
}

// serve says what a patcher says that took the lease and has read the apiserver.
func (r *rig) serve() {
	r.t.Helper()
	lease := r.put(fleet.BucketResources, fleet.KeyLease, encode(r.t, fleet.LeaseRecord{Instance: "p"}))
	epoch := r.put(fleet.BucketResources, fleet.KeyEpoch, encode(r.t, fleet.EpochRecord{Instance: "p", Lease: lease}))
	r.fenced(fleet.BucketResources, fleet.KeySynced, fleet.Synced{Epoch: epoch})
}

func (r *rig) bucket(name string) *kv.Bucket {
	return kv.Open(r.nc, name, kv.Provisioning{Fleet: "fleet", Replicas: 1, Storage: kv.File})
}

// put writes a value without a fence, as agents do, once the bucket is there.
func (r *rig) put(bucket, key string, value []byte) uint64 {
	r.t.Helper()
	return r.write(bucket, key, value, nil)
}

// fenced writes a value as the service that owns the bucket does.
func (r *rig) fenced(bucket, key string, value any) uint64 {
	r.t.Helper()
	raw, ok := value.([]byte)
	if !ok {
		raw = encode(r.t, value)
	}
	return r.write(bucket, key, raw, nats.Header{fleet.HeaderEpoch: {"1"}})
}

// remove writes a delete marker as the service that owns the bucket does.
func (r *rig) remove(bucket, key string) {
	r.t.Helper()
	r.write(bucket, key, nil, nats.Header{fleet.HeaderEpoch: {"1"}, "KV-Operation": {"DEL"}})
}

func (r *rig) write(bucket, key string, value []byte, h nats.Header) (rev uint64) {
	r.t.Helper()
	r.eventually("write "+key+" to "+bucket, func() bool {
		var err error
		rev, err = r.bucket(bucket).Put(r.ctx, key, value, h)
		return err == nil
	})
	return rev
}

func (r *rig) eventually(what string, cond func() bool) {
	r.t.Helper()
	fleettest.Eventually(r.t, soon, what, cond)
}

// never fails when the condition holds at any time within d.
func (r *rig) never(d time.Duration, what string, cond func() bool) {
	r.t.Helper()
	end := time.After(d)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if cond() {
			r.t.Fatalf("it happened: %s", what)
		}
		select {
		case <-end:
			return
		case <-tick.C:
		}
	}
}

// exists reports whether a key has a live value.
func (r *rig) exists(bucket, key string) bool {
	js, err := r.nc.JetStream()
	if err != nil {
		return false
	}
	b, err := js.KeyValue(bucket)
	if err != nil {
		return false
	}
	_, err = b.Get(key)
	return err == nil
}

// deployment puts a Deployment into the mirror and returns the value that it desires.
func (r *rig) deployment(name fleet.DeploymentName, generation int64, data string) []byte {
	r.t.Helper()
	score := fleet.Score{Type: "container", Data: json.RawMessage(data)}
	r.fenced(fleet.BucketResources, fleet.DeploymentKey(name), fleet.MirrorDeployment{
		UID: uidOf(name), Generation: generation, Score: score,
		TargetSelector: fleet.Selector{MatchLabels: map[string]string{"region": "north"}},
	})
	value, err := fleet.EncodeDesired(fleet.Desired{UID: uidOf(name), Score: score})
	if err != nil {
		r.t.Fatal(err)
	}
	return value
}

func uidOf(name fleet.DeploymentName) string { return "uid-" + string(name) }

// desire writes the value for these devices and then says that the generation is applied.
func (r *rig) desire(name fleet.DeploymentName, generation int64, value []byte, devices ...fleet.DeviceID) {
	r.t.Helper()
	for _, d := range devices {
		r.fenced(fleet.BucketDesiredState, fleet.DesiredKey(fleet.Pair{Device: d, Deployment: name}), value)
	}
	r.fenced(fleet.BucketDesiredState, fleet.AppliedKey(name), fleet.Applied{UID: uidOf(name), Generation: generation})
}

// report has a device report on a value.
func (r *rig) report(d fleet.DeviceID, name fleet.DeploymentName, phase fleet.Phase, value []byte) {
	r.t.Helper()
	rep := fleet.Report{Phase: phase, ObservedHash: fleet.Hash(value), LastEventAt: "2026-03-01T12:00:00Z"}
	if phase == fleet.PhaseFailed {
		rep.LastError = "no image"
	}
	r.put(fleet.BucketDeviceState, fleet.StateKey(fleet.Pair{Device: d, Deployment: name}), encode(r.t, rep))
}

func (r *rig) info(d fleet.DeviceID, region string) {
	r.t.Helper()
	r.put(fleet.BucketDeviceInfo, fleet.InfoKey(d), encode(r.t, fleet.DeviceInfo{
		Labels: map[string]string{"region": region}, Inventory: map[string]string{"model": "pi"}, AgentVersion: "1",
	}))
}

// live has a device send heartbeats from now on, or no more.
func (r *rig) live(alive bool, devices ...fleet.DeviceID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range devices {
		r.beats[d] = alive
	}
}

// pump sends the heartbeats until the test ends.
func (r *rig) pump(every time.Duration) {
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			r.beat(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	r.t.Cleanup(func() { cancel(); <-done })
}

func (r *rig) beat(ctx context.Context) {
	r.mu.Lock()
	var alive []fleet.DeviceID
	for d, is := range r.beats {
		if is {
			alive = append(alive, d)
		}
	}
	r.mu.Unlock()
	for _, d := range alive {
		// The clock of this device is wrong by decades: nobody cares.
		_, _ = r.bucket(fleet.BucketDeviceHeartbeat).Put(ctx, fleet.HeartbeatKey(d), []byte(`{"at":"1970-01-01T00:00:00Z"}`), nil)
	}
}

// replica is an instance of the service under test.
type replica struct {
	rig      *rig
	instance string
	cancel   context.CancelFunc
	done     chan int
	ended    bool
	log      *syncBuffer
}

// start runs a replica until the test ends or it is stopped.
func (r *rig) start(instance string, args ...string) *replica {
	r.t.Helper()
	return r.startAt(time.Now, instance, args...)
}

// startAt is start on a host whose clock is now.
func (r *rig) startAt(now func() time.Time, instance string, args ...string) *replica {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a := &replica{rig: r, instance: instance, cancel: cancel, done: make(chan int, 1), log: &syncBuffer{}}
	args = append([]string{
		fleet.ServiceAggregator, "--nats-url", r.nats.URL(), "--instance", instance, "--http-listen", "",
		"--lease-ttl", "2s", "--log-level", "debug", "--tick", "50ms", "--rebuild-for", "1ms",
	}, args...)
	go func() {
		a.done <- service.Main(ctx, args, func(string) string { return "" }, a.log, a.log, spec(now))
	}()
	r.t.Cleanup(func() {
		a.stop()
		if r.t.Failed() {
			r.t.Logf("log of %s:\n%s", instance, a.log)
		}
	})
	return a
}

// acting starts a replica and waits until it holds the lease and has delivered every status.
func (r *rig) acting(instance string, args ...string) *replica {
	r.t.Helper()
	a := r.start(instance, args...)
	a.acts()
	return a
}

// acts waits until the replica holds the lease and has delivered every status.
func (a *replica) acts() {
	a.rig.t.Helper()
	a.rig.eventually(a.instance+" acts", func() bool {
		h := a.health()
		return h.Ready && h.State != fleet.StateConverging && h.Lease != nil && h.Lease.Held
	})
}

// stop ends the replica as SIGTERM does.
func (a *replica) stop() {
	a.rig.t.Helper()
	a.cancel()
	if a.ended {
		return
	}
	a.ended = true
	select {
	case code := <-a.done:
		if code != 0 {
			a.rig.t.Errorf("%s ended with exit code %d", a.instance, code)
		}
	case <-time.After(soon):
		a.rig.t.Errorf("%s does not end", a.instance)
	}
}

// health returns what the replica says of itself, the zero Health when it says nothing. It waits for
// this one's answer only, and for long: on a busy machine answers are late.
func (a *replica) health() fleet.Health {
	inbox := a.rig.nc.NewInbox()
	sub, err := a.rig.nc.SubscribeSync(inbox)
	if err != nil {
		return fleet.Health{}
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := a.rig.nc.PublishRequest(fleet.HealthEndpoint(fleet.ServiceAggregator).Subject, inbox, nil); err != nil {
		return fleet.Health{}
	}
	for deadline := time.Now().Add(soon / 6); ; {
		m, err := sub.NextMsg(time.Until(deadline))
		if err != nil {
			return fleet.Health{}
		}
		var h fleet.Health
		if json.Unmarshal(m.Data, &h) == nil && h.Instance == a.instance {
			return h
		}
	}
}

func (a *replica) hasReason(reason string) bool { return a.message(reason) != "" }

// message returns what health says about a reason, "" when it has none such.
func (a *replica) message(reason string) string {
	for _, r := range a.health().Reasons {
		if r.Reason == reason {
			return r.Message
		}
	}
	return ""
}

// patcher is the fleet's patcher: it checks requests as the real one does and has an "apiserver" in
// memory, of which it mirrors the Devices.
type patcher struct {
	rig *rig

	mu       sync.Mutex
	bar      func(endpoint, name string) error // asked before a request is carried out, nil: carry it out
	refuse   func(endpoint, name string) error // asked after a request was carried out, nil: answer
	statuses map[string][]byte                 // by uid
	seqs     map[string]uint64                 // by uid, under epoch
	epoch    uint64
	refused  int // requests that came after a newer one
	log      []request
	released []string
	created  int
}

// request is one request as it came.
type request struct {
	endpoint, name string
	seq            uint64
	epoch          uint64
	status         fleet.DeploymentStatus
	device         fleet.DeviceApplyRequest
	wrote          bool
}

func newPatcher(r *rig) *patcher {
	r.t.Helper()
	p := &patcher{rig: r, statuses: map[string][]byte{}, seqs: map[string]uint64{}}
	nc := r.nats.Conn(r.t)
	log := &syncBuffer{}
	s, err := rpc.NewServer(nc, rpc.Config{Service: fleet.ServicePatcher, Instance: "p", Version: "1.0.0", Log: log.logger()})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, err := range []error{
		rpc.Handle(s, fleet.StatusApply, p.status),
		rpc.Handle(s, fleet.DeviceApply, p.device),
		rpc.Handle(s, fleet.FinalizerRelease, p.release),
	} {
		if err != nil {
			r.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("fake patcher: %v", err)
		}
	})
	return p
}

// check accepts a sender whose epoch is the current one.
func (p *patcher) check(ctx context.Context, s fleet.Sender, endpoint, name string) error {
	epoch, err := p.rig.bucket(fleet.BucketLeases).Revision(ctx, fleet.KeyEpoch)
	if err != nil {
		return fleet.Errorf(fleet.CodeUnavailable, "NoEpoch", "%s", err)
	}
	if s.Service != fleet.ServiceAggregator || s.Epoch != epoch {
		return fleet.Errorf(fleet.CodeGone, "EpochStale", "epoch %d, current %d", s.Epoch, epoch)
	}
	if epoch != p.epoch {
		p.epoch, p.seqs = epoch, map[string]uint64{}
	}
	if p.bar != nil {
		return p.bar(endpoint, name)
	}
	return nil
}

func (p *patcher) answer(endpoint, name, result string) (fleet.ApplyResponse, error) {
	if p.refuse != nil {
		if err := p.refuse(endpoint, name); err != nil {
			return fleet.ApplyResponse{}, err
		}
	}
	return fleet.ApplyResponse{Result: result}, nil
}

func (p *patcher) status(ctx context.Context, req fleet.StatusApplyRequest) (fleet.ApplyResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.check(ctx, req.Sender, "status", string(req.Deployment)); err != nil {
		return fleet.ApplyResponse{}, err
	}
	if err := req.Validate(); err != nil {
		return fleet.ApplyResponse{}, fleet.Errorf(fleet.CodeInvalid, "Invalid", "%s", err)
	}
	if req.Seq <= p.seqs[req.UID] {
		p.refused++
		return fleet.ApplyResponse{}, fleet.Errorf(fleet.CodeConflict, "SeqStale", "seq %d", req.Seq)
	}
	p.seqs[req.UID] = req.Seq
	if had := p.present(req.UID).ObservedGeneration; req.Status.ObservedGeneration < had && had <= req.Generation {
		return fleet.ApplyResponse{}, fleet.Errorf(fleet.CodeConflict, "ObservedBehind", "generation %d was applied", had)
	}
	body := encode(p.rig.t, req.Status)
	wrote := !bytes.Equal(p.statuses[req.UID], body)
	p.statuses[req.UID] = body
	p.log = append(p.log, request{endpoint: "status", name: string(req.Deployment), seq: req.Seq, epoch: req.Epoch, status: req.Status, wrote: wrote})
	return p.answer("status", string(req.Deployment), result(wrote))
}

// device writes the Device and mirrors it.
func (p *patcher) device(ctx context.Context, req fleet.DeviceApplyRequest) (fleet.ApplyResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.check(ctx, req.Sender, "device", string(req.Device)); err != nil {
		return fleet.ApplyResponse{}, err
	}
	uid := req.UID
	if uid == "" {
		p.created++
		uid = fmt.Sprintf("uid-%s-%d", req.Device, p.created)
	}
	p.log = append(p.log, request{endpoint: "device", name: string(req.Device), device: req, epoch: req.Epoch, wrote: true})
	_, err := p.rig.bucket(fleet.BucketResources).Put(ctx, fleet.DeviceKey(req.Device), encode(p.rig.t, fleet.MirrorDevice{
		UID: uid, Generation: 1, Labels: req.Labels, Reported: req.Labels, Status: req.Status,
	}), nats.Header{fleet.HeaderEpoch: {"1"}})
	if err != nil {
		return fleet.ApplyResponse{}, err
	}
	return p.answer("device", string(req.Device), fleet.ResultPatched)
}

func (p *patcher) release(ctx context.Context, req fleet.FinalizerReleaseRequest) (fleet.ApplyResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.check(ctx, req.Sender, "finalizer", req.Name); err != nil {
		return fleet.ApplyResponse{}, err
	}
	p.log = append(p.log, request{endpoint: "finalizer", name: req.Name, wrote: true})
	p.released = append(p.released, req.Kind+" "+req.Name+" "+req.UID+" "+req.Finalizer)
	return p.answer("finalizer", req.Name, fleet.ResultPatched)
}

func result(wrote bool) string {
	if wrote {
		return fleet.ResultPatched
	}
	return fleet.ResultUnchanged
}

// hook sets what is answered after a request was carried out.
func (p *patcher) hook(f func(endpoint, name string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = f
}

// reject sets what is answered instead of carrying a request out.
func (p *patcher) reject(f func(endpoint, name string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bar = f
}

// requests returns those to an endpoint so far.
func (p *patcher) requests(endpoint string) []request {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []request
	for _, r := range p.log {
		if r.endpoint == endpoint {
			out = append(out, r)
		}
	}
	return out
}

// writes counts the requests that changed something in the apiserver.
func (p *patcher) writes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.log {
		if r.wrote {
			n++
		}
	}
	return n
}

// lose drops a status behind the back of everybody.
func (p *patcher) lose(name fleet.DeploymentName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.statuses, uidOf(name))
}

// conflicts counts the requests that were refused because a newer one had come before.
func (p *patcher) conflicts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

// shown returns the status of a Deployment, the zero one when it has none.
func (p *patcher) shown(name fleet.DeploymentName) fleet.DeploymentStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.present(uidOf(name))
}

func (p *patcher) present(uid string) (s fleet.DeploymentStatus) {
	if b := p.statuses[uid]; b != nil {
		if err := json.Unmarshal(b, &s); err != nil {
			panic(err)
		}
	}
	return s
}

func ready(s fleet.DeploymentStatus) bool {
	return len(s.Conditions) > 0 && s.Conditions[0].Status == fleet.ConditionTrue
}

func encode(t testing.TB, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
