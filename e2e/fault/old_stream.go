package fault

import (
	"os"
	"path/filepath"
	"strconv"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// OldStream gives the stream of one bucket the files of a backup, on every server, which are stopped
// meanwhile: its sequence goes back, and the time of its creation stays. All other streams stay as they are.
type OldStream struct {
	bucket string
	backup string
}

// BackUpStream stops the servers for as long as a backup of a bucket's stream takes.
func BackUpStream(s *lab.Stack, bucket string) OldStream {
	o := OldStream{bucket: bucket, backup: s.T().TempDir()}
	s.NATS.Kill()
	for i := range s.NATS.Nodes() {
		o.copy(s, s.NATS.StreamDir(i, bucket), o.of(i))
	}
	s.NATS.Start()
	return o
}

// Name implements [Fault].
func (OldStream) Name() string { return "old-stream" }

// Target implements [Fault].
func (o OldStream) Target() string { return fleet.StreamName(o.bucket) }

// Inject implements [Fault].
func (o OldStream) Inject(s *lab.Stack) {
	s.NATS.Kill()
	for i := range s.NATS.Nodes() {
		dir := s.NATS.StreamDir(i, o.bucket)
		if err := os.RemoveAll(dir); err != nil {
			s.T().Fatalf("remove the stream of %s: %v", o.bucket, err)
		}
		o.copy(s, o.of(i), dir)
	}
	s.NATS.Start()
}

// Heal implements [Fault]: the services have to, by themselves.
func (OldStream) Heal(*lab.Stack) {}

// of is where the backup has the files of a server.
func (o OldStream) of(node int) string { return filepath.Join(o.backup, strconv.Itoa(node)) }

func (o OldStream) copy(s *lab.Stack, from, to string) {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		s.T().Fatalf("copy the stream of %s: %v", o.bucket, err)
	}
}
