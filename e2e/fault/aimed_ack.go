package fault

import (
	"context"
	"fmt"
	"time"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// AimedAck has the server write under a key: a device publishes its own heartbeat and asks for the acknowledgement there,
// where the device itself may not write. Nobody but the owner of the key can heal it.
type AimedAck struct {
	From        fleet.DeviceID
	Bucket, Key string
}

// Name implements [Fault].
func (AimedAck) Name() string { return "aimed-ack" }

// Target implements [Fault].
func (a AimedAck) Target() string { return a.Bucket + "/" + a.Key }

// Needs implements [Fault].
func (AimedAck) Needs() []lab.Ability { return nil }

// Inject implements [Fault].
func (a AimedAck) Inject(s *lab.Stack) {
	t := s.T()
	t.Helper()
	own := fleet.KeySubject(fleet.BucketDeviceHeartbeat, fleet.HeartbeatKey(a.From))
	if err := s.Conn().PublishRequest(own, fleet.KeySubject(a.Bucket, a.Key), []byte("{}")); err != nil {
		t.Fatalf("publish a heartbeat of %s: %v", a.From, err)
	}
	s.Eventually(10*time.Second, "the acknowledgement under "+a.Target(), func(ctx context.Context) error {
		keys, err := s.NATS.Keys(ctx, a.Bucket)
		if value := keys[a.Key].Value; err == nil && !fleet.IsPubAck([]byte(value)) {
			err = fmt.Errorf("it is %q", value)
		}
		return err
	})
}

// Heal implements [Fault].
func (AimedAck) Heal(*lab.Stack) {}
