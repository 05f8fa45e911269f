package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"harmony.dev/fleet"
	"harmony.dev/fleet/child"
)

// NATS is a NATS server as a child process. Its address and store stay over restarts.
type NATS struct {
	t     testing.TB
	stack *Stack
	port  int
	conf  string
	proc  *child.Process
	nc    *nats.Conn
}

func startNATS(t testing.TB, s *Stack, o Options) *NATS {
	t.Helper()
	n := &NATS{t: t, stack: s, port: FreePort(t), conf: filepath.Join(s.dir, "nats.conf")}
	n.configure(fmt.Sprintf("server_name: lab\nlisten: \"127.0.0.1:%d\"\n", n.port))
	if !o.NoStream {
		n.EnableJetStream()
	}
	n.Start()
	return n
}

// EnableJetStream takes effect with the next start.
func (n *NATS) EnableJetStream() {
	n.t.Helper()
	n.configure(fmt.Sprintf("jetstream { store_dir: %q }\n", filepath.Join(n.stack.dir, "nats")))
}

// configure adds lines to the server's configuration file.
func (n *NATS) configure(lines string) {
	n.t.Helper()
	f, err := os.OpenFile(n.conf, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(lines)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		n.t.Fatalf("write the configuration of NATS: %v", err)
	}
}

// URL is where clients connect.
func (n *NATS) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.port) }

// Start starts the server and waits until it accepts connections.
func (n *NATS) Start() {
	n.t.Helper()
	log := openLog(n.t, n.stack.dir, "nats")
	proc, err := child.Start(child.Spec{
		Name: "nats-server", Path: filepath.Join(n.stack.bin, "nats-server"), Args: []string{"-c", n.conf},
		Env: os.Environ(), Stdout: log, Stderr: log,
	})
	if err != nil {
		n.t.Fatalf("start nats-server (run 'make peers' first): %v", err)
	}
	n.proc = proc
	n.stack.t.Cleanup(func() { _ = log.Close() })
	deadline := time.Now().Add(20 * time.Second)
	for {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", n.port), time.Second)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("nats-server does not accept connections: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Kill ends the server with SIGKILL.
func (n *NATS) Kill() {
	n.t.Helper()
	if err := n.proc.Kill(); err != nil {
		n.t.Fatalf("kill nats-server: %v", err)
	}
}

func (n *NATS) end() {
	if n.nc != nil {
		n.nc.Close()
	}
	if n.proc != nil {
		_ = n.proc.Kill()
	}
}

func (n *NATS) conn() *nats.Conn {
	n.t.Helper()
	if n.nc == nil {
		nc, err := nats.Connect(n.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.Name("lab"))
		if err != nil {
			n.t.Fatalf("connect to nats-server: %v", err)
		}
		n.nc = nc
	}
	return n.nc
}

// JetStream is the test's own view of the streams.
func (n *NATS) JetStream() jetstream.JetStream {
	js, err := jetstream.New(n.conn())
	if err != nil {
		n.t.Fatalf("set up JetStream: %v", err)
	}
	return js
}

// Entry is the last message of a key, read straight from its stream.
type Entry struct {
	Revision uint64
	Value    string
	Delete   bool
}

// Entries reads a bucket from its stream, without any of the product's code: key to last message. It
// is the state at some moment between call and return only while nobody writes.
func (n *NATS) Entries(ctx context.Context, bucket string) (map[string]Entry, error) {
	out := map[string]Entry{}
	js := n.JetStream()
	consumer, err := js.CreateConsumer(ctx, fleet.StreamName(bucket), jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubject: fleet.KeySubject(bucket, ">"),
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true,
	})
	if err != nil {
		return nil, fmt.Errorf("open the stream of %s: %w", bucket, err)
	}
	info := consumer.CachedInfo()
	defer func() { _ = js.DeleteConsumer(context.WithoutCancel(ctx), info.Stream, info.Name) }() // else it goes by itself
	if info.NumPending == 0 {
		return out, nil
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, fmt.Errorf("read the stream of %s: %w", bucket, err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("read the stream of %s: %w", bucket, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return nil, fmt.Errorf("read the stream of %s: %w", bucket, err)
		}
		key := strings.TrimPrefix(m.Subject(), "$KV."+bucket+".")
		h := m.Headers()
		out[key] = Entry{
			Revision: meta.Sequence.Stream, Value: string(m.Data()),
			Delete: h.Get("KV-Operation") != "" || h.Get("Nats-Marker-Reason") != "",
		}
		if meta.NumPending == 0 {
			return out, nil
		}
	}
}

// Keys reads the live keys of a bucket that are no book-keeping.
func (n *NATS) Keys(ctx context.Context, bucket string) (map[string]Entry, error) {
	all, err := n.Entries(ctx, bucket)
	for key, e := range all {
		if e.Delete || fleet.IsReserved(key) {
			delete(all, key)
		}
	}
	return all, err
}

// FreePort finds a TCP port of 127.0.0.1 that nothing listens on.
func FreePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
