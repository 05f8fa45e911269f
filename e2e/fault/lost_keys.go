package fault

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// LostKeys are keys that somebody removes from a bucket by hand.
type LostKeys struct {
	Bucket string
	Keys   []string
	// Traceless purges the subject, as "nats stream purge --subject" does: no message is left. Otherwise the
	// key gets a delete marker, as by "nats kv del".
	Traceless bool
}

// Name implements [Fault].
func (LostKeys) Name() string { return "lost-keys" }

// Target implements [Fault].
func (k LostKeys) Target() string { return fmt.Sprintf("%s: %s", k.Bucket, strings.Join(k.Keys, " ")) }

// Loses implements [Loser]. A delete marker shows what it does.
func (k LostKeys) Loses() []string {
	if k.Traceless {
		return []string{k.Bucket}
	}
	return nil
}

// Needs implements [Fault].
func (LostKeys) Needs() []lab.Ability { return nil }

// Inject implements [Fault].
func (k LostKeys) Inject(s *lab.Stack) {
	for _, key := range k.Keys {
		if err := k.remove(s, key); err != nil {
			s.T().Fatalf("remove %s from %s: %v", key, k.Bucket, err)
		}
	}
}

func (k LostKeys) remove(s *lab.Stack, key string) error {
	ctx := s.T().Context()
	if !k.Traceless {
		return k.mark(ctx, s, key)
	}
	stream, err := s.NATS.JetStream().Stream(ctx, fleet.StreamName(k.Bucket))
	if err != nil {
		return err
	}
	return stream.Purge(ctx, jetstream.WithPurgeSubject(fleet.KeySubject(k.Bucket, key)))
}

func (k LostKeys) mark(ctx context.Context, s *lab.Stack, key string) error {
	out, err := s.NATSCommand(ctx, "kv", "del", k.Bucket, key, "-f")
	if err != nil {
		return fmt.Errorf("%w:\n%s", err, out)
	}
	return nil
}

// Heal implements [Fault]: the services have to, by themselves.
func (LostKeys) Heal(*lab.Stack) {}
