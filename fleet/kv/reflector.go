package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// ReflectorConfig says what to reflect and where to.
type ReflectorConfig struct {
	Bucket *Bucket
	Own    bool // Ensure the bucket at the start of each pass; else Check it and wait
	View   View
	Log    *slog.Logger
	Filter []string // key patterns ("device.*") that do not overlap; empty means all keys

	Poll       time.Duration // how often the guard looks; 0 means 2 s
	BackoffMin time.Duration // 0 means 50 ms
	BackoffMax time.Duration // 0 means 5 s
}

// Reflector keeps a View equal to a bucket.
type Reflector struct {
	cfg      ReflectorConfig
	progress progress
	index    *index

	// Of the goroutine of Run.
	pass    Pass     // the last one that began
	reached uint64   // the last sequence that the stream is known to have had in it
	orphans []string // consumers of which it is not known whether they are gone
	reason  string   // last one logged
}

// NewReflector returns a reflector that Run starts. Bucket and View must be set.
func NewReflector(cfg ReflectorConfig) *Reflector {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Log = cfg.Log.With("bucket", cfg.Bucket.Name())
	cfg.Poll = orDefault(cfg.Poll, 2*time.Second)
	cfg.BackoffMin = orDefault(cfg.BackoffMin, 50*time.Millisecond)
	cfg.BackoffMax = orDefault(cfg.BackoffMax, 5*time.Second)
	return &Reflector{
		cfg: cfg, index: newIndex(),
		progress: progress{name: cfg.Bucket.Name(), reason: "not read yet"},
	}
}

func orDefault(d, dflt time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return dflt
}

// Source returns the progress for health, without poison.
func (r *Reflector) Source() fleet.Source { return r.progress.source() }

// Synced reports whether the view is in step with the bucket.
func (r *Reflector) Synced() bool {
	r.progress.mu.Lock()
	defer r.progress.mu.Unlock()
	return r.progress.synced
}

// Pass returns the current pass, or the last one while none is on. Compare Number to learn that a new
// one began, and ask Synced whether it can be relied on.
func (r *Reflector) Pass() Pass {
	r.progress.mu.Lock()
	defer r.progress.mu.Unlock()
	return r.progress.pass
}

// WaitSeq waits until a pass is synced and has applied every message up to seq: the current pass, or
// when there is none the next. It returns ErrPassEnded when that pass ends meanwhile, or ctx's error.
// With a Filter seq must be that of a message which passes it.
func (r *Reflector) WaitSeq(ctx context.Context, seq uint64) error {
	return r.progress.waitSeq(ctx, seq)
}

// CatchUp waits until the view has all that the bucket has when it is called, by the word of the server. A process that
// was frozen, or that reads over a slow link, does not know by itself that it is behind. It returns ErrPassEnded
// when the bucket is not the one in view, or as [Reflector.WaitSeq] does.
func (r *Reflector) CatchUp(ctx context.Context) error {
	at, _ := r.progress.reached() // before the server is asked: what comes after that it may not tell of
	info, err := r.cfg.Bucket.info(ctx)
	if err != nil {
		return err
	}
	if info.State.LastSeq < at || !info.Created.Equal(r.Pass().Created) {
		return ErrPassEnded
	}
	return r.WaitSeq(ctx, info.State.LastSeq)
}

// Run reflects until ctx is done. It returns nil then, and never before. It must run once only.
func (r *Reflector) Run(ctx context.Context) error {
	connection := r.cfg.Bucket.nc.StatusChanged()
	defer r.cfg.Bucket.nc.RemoveStatusListener(connection)
	wait := backoff{least: r.cfg.BackoffMin, most: r.cfg.BackoffMax}
	for {
		synced, err := r.read(ctx, connection)
		r.lost(err)
		if ctx.Err() != nil {
			return nil
		}
		if synced {
			wait.reset()
		}
		pause(ctx, r.cfg.Bucket.nc, wait.next(retryMost(err, wait.most)))
	}
}

// read makes one pass. It returns why the pass ended, and whether it was synced.
func (r *Reflector) read(ctx context.Context, connection <-chan nats.Status) (synced bool, err error) {
	drainStatus(connection)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := r.provision(ctx); err != nil {
		return false, err
	}
	p, err := r.open(ctx)
	if err != nil {
		return false, err
	}
	defer r.dispose(ctx, p.consumer)
	advisories := make(chan *nats.Msg, 64)
	sub, err := r.cfg.Bucket.nc.ChanSubscribe(advisorySubject(r.cfg.Bucket.name), advisories)
	if err != nil {
		return false, fmt.Errorf("subscribe to the stream's advisories: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection, which has none

	r.begin(p)
	go p.guard.run(ctx)
	err = p.run(ctx, connection, advisories)
	r.leave(p)
	r.cfg.View.Lost(err)
	return p.synced, err
}

// begin makes the pass the current one.
func (r *Reflector) begin(p *reading) {
	r.pass = p.pass
	r.index.begin(p.pass)
	r.progress.update(func(g *progress) {
		g.pass, g.running, g.synced = p.pass, true, false
		g.position, g.stamp, g.done, g.total = 0, time.Time{}, 0, p.consumer.pending
		g.reason, g.problem = "reading the bucket", ""
	})
	r.cfg.Log.Debug("pass begins", "pass", p.pass.Number, "messages", p.consumer.pending)
	r.cfg.View.Begin(p.pass)
}

// leave remembers how far the stream was. The barrier counts also when the pass was cut before it: a stream that
// was set back to where the pass was cut, or to further on, would else seem to be the same.
func (r *Reflector) leave(p *reading) { r.reached = max(p.position, p.pass.Barrier) }

// isNew reports whether a stream is not the one of the last pass: it was created again, or set back.
func (r *Reflector) isNew(created time.Time, last uint64) bool {
	return r.pass.Number > 0 && (!created.Equal(r.pass.Created) || last < r.reached)
}

// lost shows why nothing is read at present, and logs it once.
func (r *Reflector) lost(err error) {
	reason := explain(r.cfg.Bucket.name, r.cfg.Own, err)
	r.progress.update(func(g *progress) {
		g.running, g.synced, g.reason, g.problem = false, false, reason.Message, reason.Reason
	})
	if reason.Message != r.reason && !errors.Is(err, context.Canceled) {
		r.reason = reason.Message
		r.cfg.Log.Warn("pass ended", "pass", r.pass.Number, "err", err)
	}
}

// provision makes sure that there is a bucket to read, and deletes what earlier passes left.
func (r *Reflector) provision(ctx context.Context) error {
	check := r.cfg.Bucket.Check
	if r.cfg.Own {
		check = r.cfg.Bucket.Ensure
	}
	if err := check(ctx); err != nil {
		return err
	}
	left := r.orphans
	r.orphans = nil
	for _, name := range left {
		if !deleteConsumer(ctx, r.cfg.Bucket.nc, r.cfg.Bucket.name, name) {
			r.orphans = append(r.orphans, name)
		}
	}
	return nil
}

// orphansMost bounds the memory of consumers left behind. The server drops them anyway.
const orphansMost = 64

// dispose closes a consumer. One that cannot be deleted now is deleted by the next pass, or by the
// server when nobody has pulled from it for a while.
func (r *Reflector) dispose(ctx context.Context, c *consumer) {
	if !c.close(ctx) && len(r.orphans) < orphansMost {
		r.orphans = append(r.orphans, c.name)
	}
}

// retryMost bounds the wait after an error: what other processes put right is looked for often.
func retryMost(err error, most time.Duration) time.Duration {
	if errors.Is(err, ErrBucketMissing) || errors.Is(err, ErrNoJetStream) {
		return min(most, 500*time.Millisecond)
	}
	return most
}

// backoff doubles a wait with each failure.
type backoff struct {
	least, most time.Duration
	now         time.Duration
}

func (b *backoff) reset() { b.now = 0 }

// next returns how long to wait: between half and all of the present step, at most most.
func (b *backoff) next(most time.Duration) time.Duration {
	b.now = min(max(2*b.now, b.least), b.most)
	d := min(b.now, most)
	return d/2 + rand.N(d/2+1)
}

// pause waits, and as long as there is no connection.
func pause(ctx context.Context, nc *nats.Conn, d time.Duration) {
	connected := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(connected)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
	}
	for !nc.IsConnected() {
		select {
		case <-ctx.Done():
			return
		case <-connected:
		case <-time.After(time.Second): // a connection that was closed for good never says so again
		}
	}
}

func drainStatus(ch <-chan nats.Status) {
	for {
		select {
		case <-ch:
		default:
			return
		}
	}
}
