package fault

import (
	"os"
	"path/filepath"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

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

// Inject implements [Fault].
func (f StoreRollback) Inject(s *lab.Stack) {
	t := s.T()
	t.Helper()
	s.NATS.Kill()
	for i := range s.NATS.Nodes() {
		now := s.NATS.StreamDir(i, f.Bucket)
		old, err := filepath.Glob(filepath.Join(f.Backup, "*", "jetstream", "$G", "streams", fleet.StreamName(f.Bucket)))
		if err != nil || len(old) != s.NATS.Nodes() {
			t.Fatalf("find %s in the backup: %v, %v", f.Bucket, old, err)
		}
		if err := os.RemoveAll(now); err != nil {
			t.Fatalf("remove the stream of %s: %v", f.Bucket, err)
		}
		if err := os.CopyFS(now, os.DirFS(old[i])); err != nil {
			t.Fatalf("restore the stream of %s: %v", f.Bucket, err)
		}
	}
	s.NATS.Start()
}

// Heal implements [Fault]. Nobody but the product puts it right.
func (StoreRollback) Heal(*lab.Stack) {}
