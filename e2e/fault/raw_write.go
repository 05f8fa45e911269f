package fault

import (
	"github.com/nats-io/nats.go"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// RawWrite writes bytes under a key, past the owner of the bucket and past any check of the client's: what a
// broken or an old writer does. Nobody but the owner can heal it.
type RawWrite struct {
	Bucket, Key string
	Value       string
	Epoch       uint64 // it pretends to be of the service that owns the bucket; 0: it does not

	Revision uint64 // of after Inject
}

// Name implements [Fault].
func (*RawWrite) Name() string { return "raw-write" }

// Target implements [Fault].
func (w *RawWrite) Target() string { return w.Bucket + "/" + w.Key }

// Needs implements [Fault].
func (*RawWrite) Needs() []lab.Ability { return nil }

// Inject implements [Fault].
func (w *RawWrite) Inject(s *lab.Stack) {
	s.T().Helper()
	ack, err := s.NATS.JetStream().PublishMsg(s.T().Context(), w.message())
	if err != nil {
		s.T().Fatalf("write %s: %v", w.Target(), err)
	}
	w.Revision = ack.Sequence
	s.Acked(w.Bucket, w.Key, ack.Sequence, w.Value)
}

// Heal implements [Fault].
func (*RawWrite) Heal(*lab.Stack) {}

func (w *RawWrite) message() *nats.Msg {
	m := nats.NewMsg(fleet.KeySubject(w.Bucket, w.Key))
	m.Data = []byte(w.Value)
	if w.Epoch != 0 {
		m.Header.Set(fleet.HeaderEpoch, fleet.FormatEpoch(w.Epoch))
	}
	return m
}
