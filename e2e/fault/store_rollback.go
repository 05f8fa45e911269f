package fault

import "harmony.dev/e2e/lab"

// StoreRollback kills the NATS servers and starts them with what they had stored of one bucket when a
// backup was made: the stream has its old time of creation and goes on from an old sequence.
type StoreRollback struct {
	Bucket string
	Backup string // of [lab.NATS.Backup]
}

// Name implements [Fault].
func (StoreRollback) Name() string { return "store-rollback" }

// Target implements [Fault].
func (f StoreRollback) Target() string { return f.Bucket }

// Loses implements [Loser].
func (f StoreRollback) Loses() []string { return []string{f.Bucket} }

// Needs implements [Fault].
func (StoreRollback) Needs() []lab.Ability { return []lab.Ability{lab.Store} }

// Inject implements [Fault].
func (f StoreRollback) Inject(s *lab.Stack) {
	s.T().Helper()
	s.NATS.Kill()
	s.NATS.RestoreStream(f.Backup, f.Bucket)
	s.NATS.Start()
}

// Heal implements [Fault]. Nobody but the product puts it right.
func (StoreRollback) Heal(*lab.Stack) {}
