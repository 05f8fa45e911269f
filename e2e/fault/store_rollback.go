package fault

import (
	"strings"

	"harmony.dev/e2e/lab"
)

// StoreRollback kills the NATS servers and starts them with what they had stored of some buckets when a
// backup was made: the streams have their old times of creation and go on from old sequences.
type StoreRollback struct {
	Buckets []string
	Backup  string // of [lab.NATS.Backup]
}

// Name implements [Fault].
func (StoreRollback) Name() string { return "store-rollback" }

// Target implements [Fault].
func (f StoreRollback) Target() string { return strings.Join(f.Buckets, ", ") }

// Loses implements [Loser].
func (f StoreRollback) Loses() []string { return f.Buckets }

// Needs implements [Fault].
func (StoreRollback) Needs() []lab.Ability { return []lab.Ability{lab.Store} }

// Inject implements [Fault].
func (f StoreRollback) Inject(s *lab.Stack) {
	s.T().Helper()
	s.NATS.Kill()
	for _, bucket := range f.Buckets {
		s.NATS.RestoreStream(f.Backup, bucket)
	}
	s.NATS.Start()
}

// Heal implements [Fault]. Nobody but the product puts it right.
func (StoreRollback) Heal(*lab.Stack) {}
