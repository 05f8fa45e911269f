package fault

import (
	"github.com/nats-io/nats.go/jetstream"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// StrangeBucket creates a bucket that is not there as a person does with the nats command: for this fleet, and with none
// of what a fence needs.
type StrangeBucket string

// Name implements [Fault].
func (StrangeBucket) Name() string { return "strange-bucket" }

// Target implements [Fault].
func (b StrangeBucket) Target() string { return string(b) }

// Needs implements [Fault].
func (StrangeBucket) Needs() []lab.Ability { return nil }

// Inject implements [Fault].
func (b StrangeBucket) Inject(s *lab.Stack) {
	t := s.T()
	t.Helper()
	cfg := jetstream.KeyValueConfig{Bucket: string(b), Metadata: map[string]string{fleet.MetadataFleet: s.Fleet}}
	if _, err := s.NATS.JetStream().CreateKeyValue(t.Context(), cfg); err != nil {
		t.Fatalf("create bucket %s as a stranger would: %v", b, err)
	}
}

// Heal implements [Fault]. It stays as it is until a person removes it.
func (StrangeBucket) Heal(*lab.Stack) {}
