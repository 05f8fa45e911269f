package fault

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/e2e/lab"
)

// SlowConsumer floods a subject that a process answers, while nobody reads its log: what it logs of the requests
// holds up the next ones, until its client library drops what is too much. Healed, the log is read.
//
// Paused, the process is stopped by SIGSTOP instead: the server drops its connection.
type SlowConsumer struct {
	Of       *lab.Instance
	Subject  string // of the requests
	Size     int    // of each
	Requests int
	Paused   bool
}

// Name implements [Fault].
func (f SlowConsumer) Name() string {
	if f.Paused {
		return "slow-consumer-at-server"
	}
	return "slow-consumer"
}

// Target implements [Fault].
func (f SlowConsumer) Target() string { return f.Of.ID() + ", " + f.Subject }

// Needs implements [Fault].
func (SlowConsumer) Needs() []lab.Ability { return []lab.Ability{lab.Proxies, lab.Signals} }

// Inject implements [Fault].
func (f SlowConsumer) Inject(s *lab.Stack) {
	s.T().Helper()
	nc, err := nats.Connect(s.NATS.URL(), nats.Name("flood"))
	if err != nil {
		s.T().Fatalf("connect for a flood: %v", err)
	}
	defer nc.Close()
	if f.Paused {
		f.Of.Pause()
	} else {
		f.Of.Log.Block()
	}
	var passed atomic.Int64
	f.Of.NATS.Watch(nil, func(b []byte) { passed.Add(int64(len(b))) })
	defer f.Of.NATS.Watch(nil, nil)
	body := []byte(strings.Repeat("?", f.Size)) // refused, and the log says so
	inbox := nc.NewRespInbox()                  // nobody listens
	for i := range f.Requests {
		err := nc.PublishRequest(f.Subject, inbox, body)
		if err == nil && i == f.Requests-1 {
			err = nc.FlushTimeout(20 * time.Second)
		}
		if err != nil {
			s.T().Fatalf("flood %s: %v", f.Subject, err)
		}
	}
	if f.Paused {
		return
	}
	s.Eventually(20*time.Second, "the flood to pass", func(context.Context) error {
		if n := passed.Load(); n < int64(f.Requests*f.Size) {
			return fmt.Errorf("%d bytes passed", n)
		}
		return nil
	})
	time.Sleep(time.Second) // for what is between the network and the process: whether it was enough, its log tells
}

// Heal implements [Fault].
func (f SlowConsumer) Heal(*lab.Stack) {
	if f.Paused {
		f.Of.Continue()
	} else {
		f.Of.Log.Free()
	}
}
