package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"harmony.dev/e2e/lab"
)

// stormWindow is how many writes of a storm are not acknowledged yet at a time.
const stormWindow = 256

// WriteStorm writes bytes of a few kinds under a few keys, at random and as fast as they are acknowledged,
// from Inject until Heal.
type WriteStorm struct {
	Bucket string
	Keys   []string
	Values []string
	Seed   uint64

	cancel context.CancelFunc
	done   sync.WaitGroup
	began  time.Time

	// Of after Heal.
	Sent int
	Took time.Duration
	err  error
}

// Name implements [Fault].
func (*WriteStorm) Name() string { return "write-storm" }

// Target implements [Fault].
func (w *WriteStorm) Target() string { return fmt.Sprintf("%s, %d keys", w.Bucket, len(w.Keys)) }

// Needs implements [Fault].
func (*WriteStorm) Needs() []lab.Ability { return nil }

// Inject implements [Fault].
func (w *WriteStorm) Inject(s *lab.Stack) {
	s.T().Helper()
	js, err := jetstream.New(s.Conn(), jetstream.WithPublishAsyncMaxPending(stormWindow))
	if err != nil {
		s.T().Fatalf("set up JetStream: %v", err)
	}
	ctx, cancel := context.WithCancel(s.T().Context())
	w.cancel, w.began = cancel, time.Now()
	w.done.Go(func() { w.Sent, w.err = w.blow(ctx, s, js) })
}

// blow writes until ctx is done, and waits for the acknowledgements.
func (w *WriteStorm) blow(ctx context.Context, s *lab.Stack, js jetstream.JetStream) (sent int, err error) {
	rng := rand.New(rand.NewPCG(w.Seed, 0))
	type flying struct {
		write *RawWrite
		ack   jetstream.PubAckFuture
	}
	var window []flying
	land := func() {
		f := window[0]
		window = window[1:]
		select {
		case ack := <-f.ack.Ok():
			s.Acked(w.Bucket, f.write.Key, ack.Sequence, f.write.Value)
		case e := <-f.ack.Err():
			err = errors.Join(err, e)
		case <-time.After(10 * time.Second):
			err = errors.Join(err, fmt.Errorf("write %s: no acknowledgement", f.write.Target()))
		}
	}
	for ctx.Err() == nil && err == nil {
		next := &RawWrite{Bucket: w.Bucket, Key: w.Keys[rng.IntN(len(w.Keys))], Value: w.Values[rng.IntN(len(w.Values))]}
		ack, e := js.PublishMsgAsync(next.message(), jetstream.WithStallWait(5*time.Second))
		if e != nil {
			err = e
			break
		}
		sent++
		if window = append(window, flying{next, ack}); len(window) == stormWindow {
			land()
		}
	}
	for len(window) > 0 && err == nil {
		land()
	}
	return sent, err
}

// Heal implements [Fault].
func (w *WriteStorm) Heal(s *lab.Stack) {
	s.T().Helper()
	w.cancel()
	w.done.Wait()
	w.Took = time.Since(w.began)
	if w.err != nil {
		s.T().Fatalf("the storm ended by itself after %d writes: %v", w.Sent, w.err)
	}
	s.T().Logf("storm: %d writes in %s", w.Sent, w.Took.Round(time.Millisecond))
}
