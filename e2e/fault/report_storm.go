package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// ReportStorm writes reports without pause, each acknowledged, for all of its pairs in turn and at random.
// Healed, it ends, once everything is acknowledged.
type ReportStorm struct {
	Pairs []fleet.Pair
	Next  func(fleet.Pair, *rand.Rand) []byte // the next report of a pair
	Rate  int                                 // a second, at most
	Seed  uint64

	connections []*nats.Conn
	stop        context.CancelFunc
	running     sync.WaitGroup
	acked       atomic.Int64
	began       time.Time

	mu     sync.Mutex
	err    error
	second time.Time // when the present second began …
	before int64     // … and what was acknowledged before it
	best   float64   // most in a second
}

const (
	stormWriters = 4
	stormBurst   = 50  // reports that a writer sends at once
	stormPending = 500 // reports of a writer that are not acknowledged yet, at most
	stormSample  = 100 // every how many acknowledgements is noted in the recording
)

// Name implements [Fault].
func (*ReportStorm) Name() string { return "report-storm" }

// Target implements [Fault].
func (f *ReportStorm) Target() string {
	return fmt.Sprintf("%d pairs, up to %d reports a second", len(f.Pairs), f.Rate)
}

// Needs implements [Fault].
func (*ReportStorm) Needs() []lab.Ability { return nil }

// Inject implements [Fault]. The storm goes on after it has returned.
func (f *ReportStorm) Inject(s *lab.Stack) {
	s.T().Helper()
	ctx, stop := context.WithCancel(context.Background())
	f.stop, f.began, f.second = stop, time.Now(), time.Now()
	s.T().Cleanup(f.end)
	for w := range stormWriters {
		nc, err := nats.Connect(s.NATS.URL(), nats.Name("storm"))
		if err != nil {
			s.T().Fatalf("connect for a storm of reports: %v", err)
		}
		f.connections = append(f.connections, nc)
		f.running.Go(func() {
			if err := f.write(ctx, s, nc, w); err != nil {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.err = errors.Join(f.err, err)
			}
		})
	}
}

// Heal implements [Fault].
func (f *ReportStorm) Heal(s *lab.Stack) {
	s.T().Helper()
	f.end()
	if f.err != nil {
		s.T().Fatalf("a storm of reports: %v", f.err)
	}
}

// Acked returns how many reports were acknowledged: all, in the mean second, and in the best.
func (f *ReportStorm) Acked() (n int64, mean, best float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n = f.acked.Load()
	return n, float64(n) / time.Since(f.began).Seconds(), f.best
}

// count takes in that so many were acknowledged by now.
func (f *ReportStorm) count(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if span := time.Since(f.second); span >= time.Second {
		f.best = max(f.best, float64(n-f.before)/span.Seconds())
		f.second, f.before = time.Now(), n
	}
}

func (f *ReportStorm) end() {
	f.stop()
	f.running.Wait()
	for _, nc := range f.connections {
		nc.Close()
	}
	f.connections = nil
}

// write is one writer. A pair belongs to one of them, so that its reports have an order.
func (f *ReportStorm) write(ctx context.Context, s *lab.Stack, nc *nats.Conn, w int) error {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(stormPending))
	if err != nil {
		return err
	}
	acks := make(chan jetstream.PubAckFuture, stormPending)
	noted := make(chan error, 1)
	go func() {
		var err error
		for ack := range acks { // to the end, so that the writer never waits in vain
			err = errors.Join(err, f.note(s, ack))
		}
		noted <- err
	}()
	err = f.publish(ctx, js, w, acks)
	close(acks)
	return errors.Join(err, <-noted)
}

// publish sends reports until ctx is done.
func (f *ReportStorm) publish(ctx context.Context, js jetstream.JetStream, w int, acks chan<- jetstream.PubAckFuture) error {
	rng := rand.New(rand.NewPCG(f.Seed, uint64(w)))
	tick := time.NewTicker(time.Second * stormBurst * stormWriters / time.Duration(f.Rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for range stormBurst {
			pair := f.Pairs[w+stormWriters*rng.IntN((len(f.Pairs)-w+stormWriters-1)/stormWriters)]
			subject := fleet.KeySubject(fleet.BucketDeviceState, fleet.StateKey(pair))
			ack, err := js.PublishAsync(subject, f.Next(pair, rng), jetstream.WithStallWait(10*time.Second))
			if err != nil {
				return fmt.Errorf("publish a report: %w", err)
			}
			acks <- ack
		}
	}
}

// note waits for an acknowledgement, and records some of them.
func (f *ReportStorm) note(s *lab.Stack, ack jetstream.PubAckFuture) error {
	select {
	case got := <-ack.Ok():
		n := f.acked.Add(1)
		f.count(n)
		if n%stormSample == 0 {
			key, _ := fleet.SubjectKey(fleet.BucketDeviceState, ack.Msg().Subject)
			s.Acked(fleet.BucketDeviceState, key, got.Sequence, string(ack.Msg().Data))
		}
		return nil
	case err := <-ack.Err():
		return fmt.Errorf("a report was not acknowledged: %w", err)
	case <-time.After(20 * time.Second):
		return errors.New("a report was not acknowledged in 20s")
	}
}
