package accounts

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/kv"
)

const (
	hostile   = "pi-01"
	neighbour = "pi-02"
	barrier   = "barrier"
)

// world is a server with all buckets and without services: what happens in it is what the hostile device causes. Two
// users that the shipped configuration does not have, "control" and "data", hear and may do everything in their account.
type world struct {
	*server
	device, neighbour *nats.Conn
	control, data     *nats.Conn
	outside           bool // the device is no user of DEVICES: it has no way to do what devices do

	mu     sync.Mutex
	seen   []string // what a device should not be able to bring about
	denied []string // what the server said to the hostile device
}

// where says how the hostile device connects.
type where string

const (
	asShipped where = hostile
	asData    where = "data" // as a user of DATA without permissions
	asControl where = "control"
	asBefore  where = "before" // as a user of DATA with the permissions of a device: one account, no imports
)

// additions are the users that the configuration does not have.
func additions() []loosening {
	own := `permissions: { publish: { allow: ["` + strings.Join(own(hostile), `", "`) + `"] }, subscribe: { allow: ["` + inbox(hostile) + `.>"] } }`
	before := func(account, users string) loosening {
		head := "  " + account + " {\n    jetstream: enabled\n    users: ["
		return loosening{head, head + users}
	}
	user := func(name, rest string) string {
		return fmt.Sprintf("\n      { user: %s, password: %q, %s }", name, password, rest)
	}
	return []loosening{before("CONTROL", user("control", "")), before("DATA", user("data", "")+user("before", own))}
}

// own is what a device may publish to.
func own(device string) []string {
	return []string{
		"$KV.device-info.info." + device, "$KV.device-state.state." + device + ".web",
		"$KV.device-heartbeat.heartbeat." + device, fleet.DesiredSubject(fleet.DeviceID(device)),
	}
}

func newWorld(t *testing.T, as where, loosened ...loosening) *world {
	t.Helper()
	return newWorldOf(t, 1, as, loosened...)
}

func newWorldOf(t *testing.T, nodes int, as where, loosened ...loosening) *world {
	t.Helper()
	w := &world{
		server:  newServer(t, nodes, []string{hostile, neighbour}, append(additions(), loosened...)...),
		outside: as == asData || as == asControl,
	}
	w.control, w.data, w.neighbour = w.conn("control", nats.NoEcho()), w.conn("data", nats.NoEcho()), w.conn(neighbour)
	w.fill()
	w.device = w.conn(string(as), nats.CustomInboxPrefix(inbox(hostile)),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { w.refused(err) }))
	w.listen()
	return w
}

// owners are the users that create the buckets.
func owners() map[string]string {
	return map[string]string{
		fleet.BucketResources: "PATCHER", fleet.BucketLeases: "AGGREGATOR", fleet.BucketDesiredState: "RECONCILER_DATA",
		fleet.BucketDeviceInfo: "AGGREGATOR_DATA", fleet.BucketDeviceState: "AGGREGATOR_DATA", fleet.BucketDeviceHeartbeat: "AGGREGATOR_DATA",
	}
}

// fill creates the buckets, and puts into them what there is to be spoiled.
func (w *world) fill() {
	w.t.Helper()
	for bucket, owner := range owners() {
		b := kv.Open(w.conn(owner), bucket, kv.Provisioning{Fleet: "fleet", Replicas: len(w.procs), Storage: kv.Memory})
		fleettest.Eventually(w.t, wait, "bucket "+bucket, func() bool { return b.Ensure(w.t.Context()) == nil }) // a cluster has no leader at first
	}
	for bucket, keys := range map[string][]string{
		fleet.BucketResources: {"_lease", "_epoch", "device." + neighbour}, fleet.BucketLeases: {"_lease", "_epoch"},
		fleet.BucketDesiredState: {"_lease", "_epoch", hostile + ".web", neighbour + ".web"},
		fleet.BucketDeviceInfo:   {"info." + neighbour}, fleet.BucketDeviceState: {"state." + neighbour + ".web"},
		fleet.BucketDeviceHeartbeat: {"heartbeat." + neighbour},
	} {
		for _, key := range keys {
			w.put(bucket, key)
		}
	}
}

// side is the connection that may do everything in the account of a bucket.
func (w *world) side(bucket string) *nats.Conn {
	if bucket == fleet.BucketResources || bucket == fleet.BucketLeases {
		return w.control
	}
	return w.data
}

func (w *world) put(bucket, key string) {
	w.t.Helper()
	m, err := w.side(bucket).Request(fleet.KeySubject(bucket, key), []byte("{}"), wait)
	if err != nil || !fleet.IsPubAck(m.Data) {
		w.t.Fatalf("put %s/%s: %v", bucket, key, err)
	}
}

// listen takes note of what a device should not be able to bring about.
func (w *world) listen() {
	w.t.Helper()
	for _, subject := range []string{fleet.LiveSubjects(neighbour), fleet.SubjectResyncAll, fleet.ResyncSubject(neighbour)} {
		w.hear("the neighbour", w.neighbour, subject)
	}
	w.hear("CONTROL", w.control, ">")
	w.hear("DATA", w.data, ">")
	reconciler := w.conn("RECONCILER_DATA", nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // it may not answer everywhere
	if _, err := reconciler.Subscribe(fleet.DesiredSubjects, func(m *nats.Msg) { _ = m.Respond([]byte("{}")) }); err != nil {
		w.t.Fatal(err)
	}
	for _, nc := range []*nats.Conn{w.neighbour, w.control, w.data, reconciler} {
		w.flush(nc)
	}
}

func (w *world) hear(who string, nc *nats.Conn, subject string) {
	w.t.Helper()
	if _, err := nc.Subscribe(subject, func(m *nats.Msg) {
		if !ordinary(m.Subject) {
			w.note("%s hears %s: %.200s", who, m.Subject, m.Data)
		}
	}); err != nil {
		w.t.Fatal(err)
	}
}

// ordinary reports whether a subject is one of the test's own, or of what the hostile device may do: its keys, its
// requests, and the answers to it.
func ordinary(subject string) bool {
	switch {
	case strings.Contains(subject, barrier), slices.Contains(own(hostile), subject):
		return true
	}
	return slices.ContainsFunc([]string{inbox("control"), inbox("data"), inbox(hostile), "_R_", "$JS.EVENT"}, func(prefix string) bool {
		return strings.HasPrefix(subject, prefix+".")
	})
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, fmt.Sprintf(format, args...))
}

func (w *world) refused(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.denied = append(w.denied, err.Error())
}

// took returns what was noted, and what the device was refused, since the last call.
func (w *world) took() (seen, denied []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen, denied, w.seen, w.denied = w.seen, w.denied, nil, nil
	return seen, denied
}

func (w *world) flush(nc *nats.Conn) {
	w.t.Helper()
	if err := nc.FlushTimeout(wait); err != nil {
		w.t.Fatal(err)
	}
}

// settle waits until all that the device sent has had its effect: a stream takes in and answers in turn.
func (w *world) settle() {
	w.t.Helper()
	w.flush(w.device)
	if !w.outside {
		w.mayDoItsOwn()
	}
	for bucket := range owners() {
		w.put(bucket, barrier)
	}
	for _, nc := range []*nats.Conn{w.device, w.neighbour, w.control, w.data} {
		w.flush(nc)
		w.flush(nc) // what came before the first answer is handled when the second has come
	}
}

// mayDoItsOwn proves that the device is not just shut out.
func (w *world) mayDoItsOwn() {
	w.t.Helper()
	for _, subject := range own(hostile) {
		if _, err := w.device.Request(subject, []byte("{}"), wait); err != nil {
			w.t.Fatalf("a device may not do what it should: %s: %v", subject, err)
		}
	}
}

// content is what is in the buckets: subject to revision.
func (w *world) content() map[string]uint64 {
	w.t.Helper()
	all := map[string]uint64{}
	for bucket := range owners() {
		keys, err := w.read(bucket)
		for range 4 { // a node of a cluster may be behind, and a consumer there deliver nothing for a while
			if err != nil {
				keys, err = w.read(bucket)
			}
		}
		if err != nil {
			w.t.Fatalf("read %s: %v", bucket, err)
		}
		maps.Copy(all, keys)
	}
	return all
}

func (w *world) read(bucket string) (map[string]uint64, error) {
	keys := map[string]uint64{}
	err := kv.Open(w.side(bucket), bucket, kv.Provisioning{}).Scan(w.t.Context(), func(m kv.Message) {
		if subject := fleet.KeySubject(bucket, m.Key); !ordinary(subject) {
			keys[subject] = m.Revision
		}
	})
	return keys, err
}

// effects does something as the hostile device, and returns what came of it that should not have.
func (w *world) effects(do func(*world)) (effects, denied []string) {
	w.t.Helper()
	before := w.content()
	w.took()
	do(w)
	w.settle()
	effects, denied = w.took()
	after := w.content()
	for subject := range after {
		if before[subject] != after[subject] {
			effects = append(effects, "written: "+subject)
		}
	}
	for subject := range before {
		if _, ok := after[subject]; !ok {
			effects = append(effects, "gone: "+subject)
		}
	}
	return effects, denied
}
