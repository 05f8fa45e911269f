package holder

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/reconciler/plan"
	"harmony.dev/services/reconciler/view"
)

// soon bounds what happens at once on an idle machine.
const soon = 30 * time.Second

// gate is a dialer of connections on which nothing arrives while it is locked.
type gate struct{ sync.RWMutex }

// Dial implements [nats.CustomDialer].
func (g *gate) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	return gated{c, g}, err
}

type gated struct {
	net.Conn
	gate *gate
}

func (c gated) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.gate.RLock()
	defer c.gate.RUnlock()
	return n, err
}

// lagging is a holder whose view stands still while the gate is locked, and whose writes go on. There is
// one device, d1, and the delete of its only key waits, because it is doubtful.
type lagging struct {
	*Holder
	gate  gate
	term  *kv.Term
	group plan.Group         // with the delete
	live  *nats.Subscription // of the device
}

func newLagging(t *testing.T, handBackAfter time.Duration) *lagging {
	t.Helper()
	server := fleettest.NATS(t)
	nc, log, prov := server.Conn(t), slog.New(slog.NewTextHandler(t.Output(), nil)), kv.Provisioning{Fleet: "fleet"}
	l := &lagging{}
	_, mirror := leads(t, kv.Open(nc, fleet.BucketResources, prov), log)
	d1 := fleet.MirrorDevice{UID: "uid-d1", Generation: 1, Labels: map[string]string{"region": "north"}}
	web := fleet.MirrorDeployment{UID: "uid-web", Generation: 1, Score: fleet.Score{Type: "test", Data: []byte(`"a"`)}}
	web.TargetSelector.MatchLabels = map[string]string{"region": "north"}
	put(t, mirror, fleet.DeviceKey("d1"), d1)
	put(t, mirror, fleet.DeploymentKey("web"), web)
	put(t, mirror, fleet.KeySynced, fleet.Synced{Epoch: mirror.Epoch()})
	elector, term := leads(t, kv.Open(nc, fleet.BucketDesiredState, prov), log)
	l.term = term
	put(t, term, "d1.web", fleet.Desired{UID: web.UID, Score: web.Score})
	put(t, term, fleet.AppliedKey("web"), fleet.Applied{UID: web.UID, Generation: 1})

	slow := server.Conn(t, nats.SetCustomDialer(&l.gate), nats.PingInterval(time.Minute))
	v := view.New(view.Config{
		Mirror: kv.Open(slow, fleet.BucketResources, prov), Desired: kv.Open(slow, fleet.BucketDesiredState, prov),
		Brake: plan.Brake{Quiet: time.Hour, MaxWait: time.Hour}, Log: log,
	})
	background(t, func(ctx context.Context) { _ = v.RunMirror(ctx) })
	background(t, func(ctx context.Context) { _ = v.RunDesired(ctx) })
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	l.Holder = New(Config{View: v, Elector: elector, Data: nc, Control: nc, HandBackAfter: handBackAfter, Metrics: metrics, Log: log})
	d1.Labels["region"] = "lost"
	put(t, mirror, fleet.DeviceKey("d1"), d1)
	fleettest.Eventually(t, soon, "the delete waits", func() bool {
		p, now := v.Plan()
		l.group = plan.Group{Deployment: "web", Deletes: p.Waiting}
		return now.Synced && p.Empty() && len(p.Waiting) == 1
	})
	if l.live, err = nc.SubscribeSync(fleet.LiveSubjects("d1")); err != nil {
		t.Fatal(err)
	}
	l.answering.Store(true)
	if got, err := l.ask(); err != nil || len(got.Entries) != 0 || got.Complete {
		t.Fatalf("before the write: %+v, %v", got, err)
	}
	return l
}

// leads holds the lease of a bucket, under an epoch, until the test ends.
func leads(t *testing.T, b *kv.Bucket, log *slog.Logger) (*kv.Elector, *kv.Term) {
	t.Helper()
	e := kv.NewElector(kv.ElectorConfig{Bucket: b, Own: true, Instance: "one", Log: log})
	background(t, func(ctx context.Context) {
		_ = e.Run(ctx, func(ctx context.Context, _ *kv.Term) error {
			<-ctx.Done()
			return ctx.Err()
		})
	})
	fleettest.Eventually(t, soon, "the lease is taken", func() bool { return e.Term() != nil })
	if _, err := e.Term().NewEpoch(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e, e.Term()
}

// background runs f until the test ends.
func background(t *testing.T, f func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func put(t *testing.T, term *kv.Term, key string, value any) {
	t.Helper()
	b, err := json.Marshal(value)
	if d, ok := value.(fleet.Desired); ok {
		b, err = fleet.EncodeDesired(d)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := term.Write(t.Context(), []kv.Write{{Key: key, Value: b}}); err != nil {
		t.Fatal(err)
	}
}

// deletes writes the delete while the view stands still. It returns its sequence when the device has it,
// and how the write ends.
func (l *lagging) deletes(t *testing.T) (seq uint64, written <-chan error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- l.write(t.Context(), l.term, plan.Plan{Groups: []plan.Group{l.group}}, time.Now()) }()
	m, err := l.live.NextMsg(soon)
	if err != nil {
		t.Fatal(err)
	}
	if seq, err = strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64); err != nil {
		t.Fatal(err)
	}
	return seq, done
}

func (l *lagging) ask() (fleet.Snapshot, error) {
	return l.snapshot(l.term, fleet.DesiredSubject("d1"), fleet.SnapshotRequest{})
}

func converging(err error) bool {
	e, ok := errors.AsType[*fleet.Error](err)
	return ok && e.Code == fleet.CodeUnavailable && e.Reason == "Converging"
}

// A device obeys a delete and asks before the holder has it in view: an answer would bring the workload back.
func TestSnapshot_WaitsForWritesThatAreNotInView(t *testing.T) {
	l := newLagging(t, soon)
	l.gate.Lock()
	open := sync.OnceFunc(l.gate.Unlock)
	defer open()
	seq, written := l.deletes(t)
	if got, err := l.ask(); !converging(err) {
		t.Errorf("a device that is at %d is told %+v, %v", seq, got, err)
	}
	open()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if got, err := l.ask(); err != nil || len(got.Entries) != 0 || got.AsOf < seq {
		t.Errorf("after the write: %+v, %v", got, err)
	}
}

// After a write of which it is not known where it ends, only a new epoch tells.
func TestSnapshot_WaitsForTheNextEpochAfterAnError(t *testing.T) {
	l := newLagging(t, 100*time.Millisecond)
	l.gate.Lock()
	open := sync.OnceFunc(l.gate.Unlock)
	defer open()
	seq, written := l.deletes(t)
	if err := <-written; !errors.Is(err, errBlind) {
		t.Fatalf("the write ends with %v", err)
	}
	if got, err := l.ask(); !converging(err) {
		t.Errorf("a device that is at %d is told %+v, %v", seq, got, err)
	}
	open()
	epoch, err := l.term.NewEpoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.cfg.HandBackAfter = soon
	background(t, func(ctx context.Context) { _ = l.epoch(ctx, l.term, epoch) })
	fleettest.Eventually(t, soon, "the device is answered", func() bool {
		got, err := l.ask()
		return err == nil && len(got.Entries) == 0 && got.AsOf >= seq
	})
}
