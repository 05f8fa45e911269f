package fault

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// ReplayCut starts a process and cuts its connections again and again while it reads a bucket: each time
// after so many messages. Before the last cut nothing arrives any more for a while, so that the process has
// time to act on the half that it has.
type ReplayCut struct {
	Instance *lab.Instance // that does not run
	Bucket   string
	After    []int         // messages, for each cut
	Still    time.Duration // before the last cut
	Look     func()        // called while it is still, if set; it must not end the test
}

// Name implements [Fault].
func (ReplayCut) Name() string { return "replay-cut" }

// Target implements [Fault].
func (f ReplayCut) Target() string {
	return fmt.Sprintf("%s, reading %s, after %v messages", f.Instance.ID(), f.Bucket, f.After)
}

// Needs implements [Fault].
func (ReplayCut) Needs() []lab.Ability { return []lab.Ability{lab.Proxies} }

// Inject implements [Fault]. It returns when all cuts were made.
func (f ReplayCut) Inject(s *lab.Stack) {
	s.T().Helper()
	var cuts atomic.Int32
	f.after(0, &cuts)
	f.Instance.Start()
	s.Eventually(60*time.Second, fmt.Sprintf("%d cuts", len(f.After)), func(context.Context) error {
		if n := int(cuts.Load()); n < len(f.After) {
			return fmt.Errorf("only %d", n)
		}
		return nil
	})
}

// after makes the k-th cut and the following ones when their messages have come.
func (f ReplayCut) after(k int, cuts *atomic.Int32) {
	if k == len(f.After) {
		f.Heal(nil)
		return
	}
	onMessage(f.Instance, f.Bucket, f.After[k], func() {
		if k == len(f.After)-1 {
			time.Sleep(f.Still / 2)
			if f.Look != nil {
				f.Look()
			}
			time.Sleep(f.Still / 2)
		}
		f.after(k+1, cuts) // before the connections of the next pass
		f.Instance.NATS.Cut()
		cuts.Add(1)
	})
}

// Heal implements [Fault].
func (f ReplayCut) Heal(*lab.Stack) { f.Instance.NATS.Watch(nil, nil) }

// onMessage calls do once, when the n-th message of a bucket is about to be delivered to a process, which
// waits for it.
func onMessage(i *lab.Instance, bucket string, n int, do func()) {
	i.NATS.Pieces(2 << 10) // a few messages each
	delivery := []byte("$JS.ACK." + fleet.StreamName(bucket) + ".")
	var seen atomic.Int64
	i.NATS.Watch(nil, func(b []byte) {
		came := int64(bytes.Count(b, delivery))
		if now := seen.Add(came); now >= int64(n) && now-came < int64(n) {
			do()
		}
	})
}
