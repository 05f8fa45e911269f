package fault

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// StreamRecreate deletes the streams of buckets and creates them again at once, empty and with the same
// configuration, as a person with the nats command does.
type StreamRecreate struct {
	Buckets []string
	// FirstSeq is where the new sequences begin: 0 is where those of the old stream were said to begin, 1
	// is what the server does when nothing is said.
	FirstSeq uint64
}

// errStoreFailed is how the server refuses a stream whose predecessor's files it is still removing.
var errStoreFailed = &jetstream.APIError{ErrorCode: 10049}

// Name implements [Fault].
func (f StreamRecreate) Name() string {
	if f.FirstSeq > 0 {
		return fmt.Sprintf("stream-recreate-at-%d", f.FirstSeq)
	}
	return "stream-recreate"
}

// Target implements [Fault].
func (f StreamRecreate) Target() string { return strings.Join(f.Buckets, ", ") }

// Loses implements [Loser].
func (f StreamRecreate) Loses() []string { return f.Buckets }

// Needs implements [Fault].
func (StreamRecreate) Needs() []lab.Ability { return nil }

// Inject implements [Fault].
func (f StreamRecreate) Inject(s *lab.Stack) {
	s.T().Helper()
	for _, bucket := range f.Buckets {
		f.recreate(s, bucket)
	}
}

func (f StreamRecreate) recreate(s *lab.Stack, bucket string) {
	t, js := s.T(), s.NATS.JetStream()
	t.Helper()
	stream, err := js.Stream(t.Context(), fleet.StreamName(bucket))
	if err != nil {
		t.Fatalf("look at the stream of %s: %v", bucket, err)
	}
	cfg := stream.CachedInfo().Config
	if f.FirstSeq > 0 {
		cfg.FirstSeq = f.FirstSeq
	}
	for { // the owner may be faster
		if err := js.DeleteStream(t.Context(), cfg.Name); err != nil {
			t.Fatalf("delete the stream of %s: %v", bucket, err)
		}
		_, err := js.CreateStream(t.Context(), cfg)
		if err == nil {
			return
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) && !errors.Is(err, errStoreFailed) {
			t.Fatalf("create the stream of %s again: %v", bucket, err)
		}
	}
}

// Heal implements [Fault]. Nobody but the product puts it right.
func (StreamRecreate) Heal(*lab.Stack) {}
