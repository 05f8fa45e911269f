package kv

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// scanned returns what a scan brings, the last message of each key.
func scanned(t testing.TB, b *Bucket) map[string]Message {
	t.Helper()
	got := map[string]Message{}
	if err := b.Scan(t.Context(), func(m Message) { got[m.Key] = m }); err != nil {
		t.Fatal(err)
	}
	return got
}

// oddKeys are keys that a server takes and no KV client would.
var oddKeys = []string{"a.b.c.d", "bad!key", "UP.x", "*", ">", "state.*", "\xff\xfe", "\x1b[31m", "a\x00b", "';rm${IFS}-rf;'", "\u202eabc", "--force", "{{Count}}"}

// publishRaw stores a value under any key that the server takes.
func publishRaw(t testing.TB, b *Bucket, key, value string) uint64 {
	t.Helper()
	ack, err := publish(t.Context(), b.nc, &nats.Msg{Subject: fleet.KeySubject(b.name, key), Data: []byte(value)})
	if err != nil {
		t.Fatalf("publish %q: %v", key, err)
	}
	return ack.Sequence
}

func TestScan_BringsEverySubjectOnce(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDeviceState, prov())
	if got := scanned(t, b); len(got) != 0 {
		t.Errorf("an empty bucket has %v", got)
	}
	want := map[string]uint64{}
	for _, key := range append([]string{"state.pi-1.web"}, oddKeys...) {
		want[key] = publishRaw(t, b, key, "v")
	}
	want["state.pi-2.web"] = put(t, b, "state.pi-2.web", "v")
	if err := b.DeleteIf(t.Context(), "state.pi-2.web", want["state.pi-2.web"]); err != nil {
		t.Fatal(err)
	}
	fill(t, b, "many.", 5000)
	got := scanned(t, b)
	if len(got) != 5000+len(want) {
		t.Errorf("%d subjects scanned, want %d", len(got), 5000+len(want))
	}
	for key, revision := range want {
		m, ok := got[key]
		if !ok || key != "state.pi-2.web" && (m.Revision != revision || m.Op != Put || string(m.Value) != "v" || m.Time.IsZero()) {
			t.Errorf("%q: scanned %+v, want revision %d", key, m, revision)
		}
	}
	if m := got["state.pi-2.web"]; m.Op != Delete {
		t.Errorf("the marker came as %v", m.Op)
	}
	if names := consumers(t, b); len(names) > 0 {
		t.Errorf("the scans left consumers: %v", names)
	}
}

func TestScan_ReadsAStreamThatIsConfiguredOtherwise(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	createStream(t, nc, api.StreamConfig{
		Name: fleet.StreamName("device-info"), Subjects: []string{"$KV.device-info.>"}, Storage: api.MemoryStorage,
		Retention: api.LimitsPolicy, Discard: api.DiscardOld, MaxMsgsPer: 5, MaxConsumers: -1, MaxMsgs: -1, MaxBytes: -1, Replicas: 1,
	})
	b := Open(nc, fleet.BucketDeviceInfo, Provisioning{})
	for i := range 3 {
		put(t, b, "info.pi-1", fmt.Sprint(i))
	}
	if got := scanned(t, b); len(got) != 1 || string(got["info.pi-1"].Value) != "2" {
		t.Errorf("scanned %v", got)
	}
}

func TestScan_SaysWhyItCannotRead(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := Open(nc, fleet.BucketDeviceInfo, prov())
	never := func(m Message) { t.Errorf("there is %q", m.Key) }
	if err := b.Scan(t.Context(), never); err == nil {
		t.Error("a bucket that is missing was read")
	}
	ensured(t, nc, fleet.BucketDeviceInfo, prov())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Scan(ctx, never); err == nil {
		t.Error("the scan was stopped and says nothing")
	}
}
