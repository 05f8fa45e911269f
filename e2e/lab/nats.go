package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
	"harmony.dev/fleet/child"
)

// NATS is one NATS server, or a cluster of three, as child processes. Addresses and stores stay over
// restarts.
type NATS struct {
	t     testing.TB
	nodes []*node
	nc    *nats.Conn
	conns []*nats.Conn
}

// node is one server.
type node struct {
	stack *Stack
	name  string
	port  int
	files string // where its store is on this machine
	proc  process
}

func startNATS(t testing.TB, s *Stack, o Options) *NATS {
	t.Helper()
	if s.project != nil {
		return s.natsContainers(o)
	}
	n := &NATS{t: t}
	var routes []string
	for i := range max(o.Nodes, 1) {
		name := fmt.Sprintf("nats-%d", i+1)
		nd := &node{stack: s, name: name, port: FreePort(t), files: filepath.Join(s.dir, name)}
		n.nodes = append(n.nodes, nd)
		nd.configure(fmt.Sprintf("server_name: %s\nlisten: \"127.0.0.1:%d\"\n", nd.name, nd.port))
		routes = append(routes, fmt.Sprintf("127.0.0.1:%d", FreePort(t)))
	}
	if len(routes) > 1 {
		for i, nd := range n.nodes {
			nd.configure(fmt.Sprintf("cluster { name: lab, no_advertise: true, listen: %q, routes: [\"nats://%s\"] }\n", routes[i], strings.Join(routes, `", "nats://`)))
		}
	}
	n.configure(true)
	n.Start()
	return n
}

// RestartWithJetStream restarts all servers with JetStream on the stores that they had, or without it.
func (n *NATS) RestartWithJetStream(on bool) {
	n.t.Helper()
	n.nodes[0].stack.use(Config)
	n.Kill()
	n.configure(on)
	n.Start()
}

// configure says whether servers have JetStream once they start: what a configuration says last counts.
func (n *NATS) configure(jetStream bool) {
	n.t.Helper()
	for _, nd := range n.nodes {
		line := "jetstream: disabled\n"
		if jetStream {
			line = fmt.Sprintf("jetstream { store_dir: %q }\n", nd.files)
		}
		nd.configure(line)
	}
}

// configure adds lines to the server's configuration file.
func (nd *node) configure(lines string) {
	f, err := os.OpenFile(nd.conf(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(lines)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		nd.stack.t.Fatalf("write the configuration of NATS: %v", err)
	}
}

func (nd *node) note(kind record.ProcessKind) {
	nd.stack.note(record.Event{Process: &record.Process{Kind: kind, Service: "nats-server", Instance: nd.name}})
}

func (nd *node) conf() string { return filepath.Join(nd.stack.dir, nd.name+".conf") }

func (nd *node) address() string { return fmt.Sprintf("127.0.0.1:%d", nd.port) }

// URL is where clients connect: all servers, separated by commas.
func (n *NATS) URL() string { return n.addresses(n.nodes[0].user()) }

// addresses are the URLs of all servers for a user, "" or "name:password@".
func (n *NATS) addresses(user string) string {
	var urls []string
	for _, nd := range n.nodes {
		urls = append(urls, "nats://"+user+nd.address())
	}
	return strings.Join(urls, ",")
}

// Start starts the servers and waits until they accept connections.
func (n *NATS) Start() {
	n.t.Helper()
	for _, nd := range n.nodes {
		nd.start()
	}
	for _, nd := range n.nodes {
		nd.await()
	}
}

func (nd *node) start() {
	t := nd.stack.t
	t.Helper()
	log := openLog(t, nd.stack.dir, nd.name)
	proc, err := nd.begin(log)
	if err != nil {
		t.Fatalf("start nats-server (run 'make peers' first): %v", err)
	}
	nd.proc = proc
	nd.note(record.ProcessStarted)
	t.Cleanup(func() { _ = log.Close() })
}

// begin starts a child process, or the server's container again.
func (nd *node) begin(log *os.File) (process, error) {
	if last, ok := nd.proc.(*container); ok {
		return last.again(log)
	}
	return child.Start(child.Spec{
		Name: nd.name, Path: filepath.Join(nd.stack.bin, "nats-server"), Args: []string{"-c", nd.conf()},
		Env: os.Environ(), Stdout: log, Stderr: log,
	})
}

func (nd *node) await() {
	deadline := time.Now().Add(20 * time.Second)
	for {
		nc, err := nats.Connect("nats://" + nd.user() + nd.address()) // a port of the engine takes connections without a server
		if err == nil {
			nc.Close()
			return
		}
		if time.Now().After(deadline) {
			nd.stack.t.Fatalf("%s does not accept connections: %v", nd.name, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Kill ends the servers with SIGKILL.
func (n *NATS) Kill() {
	n.t.Helper()
	for i := range n.nodes {
		n.killNode(i)
	}
}

// killNode ends one server with SIGKILL.
func (n *NATS) killNode(i int) {
	n.t.Helper()
	n.nodes[i].note(record.ProcessKilled)
	if err := n.nodes[i].proc.Kill(); err != nil {
		n.t.Fatalf("kill %s: %v", n.nodes[i].name, err)
	}
}

// StopNode ends one server with SIGTERM, as a rolling update does.
func (n *NATS) StopNode(i int) {
	n.t.Helper()
	n.nodes[i].note(record.ProcessStopping)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := n.nodes[i].proc.Stop(ctx); err != nil {
		n.t.Fatalf("stop %s: %v", n.nodes[i].name, err)
	}
}

// StartNode starts one server again and waits until it accepts connections.
func (n *NATS) StartNode(i int) {
	n.t.Helper()
	n.nodes[i].start()
	n.nodes[i].await()
}

// Nodes is how many servers there are.
func (n *NATS) Nodes() int { return len(n.nodes) }

// WipeStore removes all that servers which were killed have stored.
func (n *NATS) WipeStore() {
	n.t.Helper()
	for _, nd := range n.nodes {
		files, err := filepath.Glob(filepath.Join(nd.files, "*")) // the directory itself may be a volume
		for _, f := range files {
			err = errors.Join(err, os.RemoveAll(f))
		}
		if err != nil {
			n.t.Fatalf("wipe the store of %s: %v", nd.name, err)
		}
	}
}

// Backup copies the stores of servers that were killed, and returns where to.
func (n *NATS) Backup() string {
	n.t.Helper()
	dir := n.t.TempDir()
	for _, nd := range n.nodes {
		if err := os.CopyFS(filepath.Join(dir, nd.name), os.DirFS(nd.files)); err != nil {
			n.t.Fatalf("copy the store of %s: %v", nd.name, err)
		}
	}
	return dir
}

// RestoreStream gives servers that were killed what a backup has of one bucket, and leaves them the rest.
func (n *NATS) RestoreStream(backup, bucket string) {
	n.t.Helper()
	path := filepath.Join("jetstream", "$G", "streams", fleet.StreamName(bucket))
	for _, nd := range n.nodes {
		now, old := filepath.Join(nd.files, path), filepath.Join(backup, nd.name, path)
		err := os.RemoveAll(now)
		if err == nil {
			err = os.CopyFS(now, os.DirFS(old))
		}
		if err != nil {
			n.t.Fatalf("restore %s of %s: %v", path, nd.name, err)
		}
	}
}

func (n *NATS) end() {
	for _, nc := range n.conns {
		nc.Close()
	}
	for _, nd := range n.nodes {
		if nd.proc != nil {
			_ = nd.proc.Kill()
		}
	}
	if p := n.nodes[0].stack.project; p != nil {
		if err := p.removeNATS(); err != nil {
			n.t.Errorf("remove the containers of NATS: %v", err)
		}
	}
}

func (n *NATS) conn() *nats.Conn {
	n.t.Helper()
	if n.nc == nil {
		n.nc = n.connect()
	}
	return n.nc
}

// connect opens a connection that lasts over restarts of the servers, until the stack ends.
func (n *NATS) connect() *nats.Conn {
	n.t.Helper()
	nc, err := nats.Connect(n.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.Name("lab"), nats.IgnoreDiscoveredServers())
	if err != nil {
		n.t.Fatalf("connect to nats-server: %v", err)
	}
	n.conns = append(n.conns, nc)
	return nc
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
	Stamp    time.Time // the server's
}

// Entries reads a bucket from its stream, without any of the product's code: key to last message. It
// is the state at some moment between call and return only while nobody writes.
func (n *NATS) Entries(ctx context.Context, bucket string) (out map[string]Entry, err error) {
	for range 5 { // a node of a cluster may be behind, and a consumer there deliver nothing for a while
		if out, err = n.read(ctx, bucket); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the stream of %s: %w", bucket, err)
	}
	return out, nil
}

// read makes one attempt, and an error of what is not the whole bucket.
func (n *NATS) read(ctx context.Context, bucket string) (map[string]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second) // 100,000 keys on a busy machine
	defer cancel()
	stream, err := n.JetStream().Stream(ctx, fleet.StreamName(bucket))
	if err != nil {
		return nil, err
	}
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubject: fleet.KeySubject(bucket, ">"),
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.DeleteConsumer(context.WithoutCancel(ctx), consumer.CachedInfo().Name) }() // else it goes by itself
	messages, err := consumer.Messages()
	if err != nil {
		return nil, err
	}
	defer messages.Stop()
	info, err := stream.Info(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]Entry{}
	for uint64(len(out)) < info.State.NumSubjects {
		quiet, cancel := context.WithTimeout(ctx, 2*time.Second)
		m, err := messages.Next(jetstream.NextContext(quiet))
		cancel()
		if err != nil {
			return nil, fmt.Errorf("%d of %d keys came: %w", len(out), info.State.NumSubjects, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		out[strings.TrimPrefix(m.Subject(), "$KV."+bucket+".")] = Entry{
			Revision: meta.Sequence.Stream, Value: string(m.Data()), Stamp: meta.Timestamp,
			Delete: record.KindOf(m.Headers()) != record.OpPut,
		}
	}
	return out, nil
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
