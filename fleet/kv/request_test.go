package kv

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// send sends a request as any client would, and returns the answer.
func send(t testing.TB, nc *nats.Conn, r Request) string {
	t.Helper()
	m := &nats.Msg{Subject: r.Subject, Data: r.Body, Header: nats.Header{}}
	for _, f := range r.Header {
		m.Header.Set(f.Name, f.Value)
	}
	resp, err := nc.RequestMsg(m, soon)
	if err != nil {
		t.Fatalf("request on %q: %v", r.Subject, err)
	}
	return string(resp.Data)
}

func TestRemoveRequest_RemovesAnyKeyAndNoOther(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDeviceState, prov())
	good := []string{"state.pi-1.web", "state.x", "x"}
	left := map[string]uint64{}
	for _, key := range append(good, oddKeys...) {
		left[key] = publishRaw(t, b, key, "v")
	}
	for _, key := range oddKeys {
		r, err := RemoveRequest(b.Name(), key, left[key])
		if err != nil {
			t.Fatal(err)
		}
		answer := send(t, nc, r)
		delete(left, key)
		now := scanned(t, b)
		if m, ok := now[key]; ok && m.Op == Put {
			t.Errorf("%q is still there: %s", key, answer)
		}
		for other, revision := range left {
			if m := now[other]; m.Op != Put || m.Revision != revision {
				t.Fatalf("the removal of %q touched %q: %+v", key, other, m)
			}
		}
	}
}

func TestRemoveRequest_LeavesWhatIsNewer(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDeviceState, prov())
	for _, key := range []string{"state.pi-1.web", "bad!key", "a\xff"} {
		old := publishRaw(t, b, key, "bad")
		publishRaw(t, b, key, "good")
		r, err := RemoveRequest(b.Name(), key, old)
		if err != nil {
			t.Fatal(err)
		}
		answer := send(t, nc, r)
		if m := scanned(t, b)[key]; string(m.Value) != "good" {
			t.Errorf("%q: a newer value was removed: %+v, %s", key, m, answer)
		}
	}
}

func TestRemoveRequest_MarkersGoByThemselves(t *testing.T) {
	r, err := RemoveRequest(fleet.BucketDeviceState, "*", 7)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Header {
		if f.Name == headerTTL {
			if d, err := time.ParseDuration(f.Value); err != nil || d != deleteTTL {
				t.Errorf("TTL %q", f.Value)
			}
			return
		}
	}
	t.Errorf("no TTL in %v", r.Header)
}

// accountant is a View that keeps an account as the services do.
type accountant struct {
	*recorder
	aside *Aside
}

func (a accountant) Begin(p Pass) {
	a.aside.Reset()
	a.recorder.Begin(p)
}

func (a accountant) Apply(m Message) {
	a.recorder.Apply(m)
	if _, err := fleet.ParseStateKey(m.Key); err != nil && m.Op == Put {
		a.aside.Add(m, err, false)
		return
	}
	a.aside.Clear(m.Key)
}

func TestAside_ForgetsAKeyThatIsPurgedFromTheStream(t *testing.T) {
	for name, meanwhile := range map[string][]string{ // keys that are added
		"alone":                          nil,
		"while another key is added":     {"state.pi-2.web"},
		"while another bad key is added": {"worse!"},
	} {
		t.Run(name, func(t *testing.T) {
			nc := fleettest.NATS(t).Conn(t)
			b := ensured(t, nc, fleet.BucketDeviceState, prov())
			put(t, b, "state.pi-1.web", "v")
			revisions := map[string]uint64{}
			for _, key := range oddKeys {
				revisions[key] = publishRaw(t, b, key, "v")
			}
			a := accountant{newRecorder(), NewAside(b.Name(), testLog(t))}
			reflect(t, ReflectorConfig{Bucket: b, View: a, Poll: 200 * time.Millisecond})
			fleettest.Eventually(t, soon, "all bad keys are set aside", func() bool {
				n, _ := shown(a.aside)
				return n == len(oddKeys)
			})
			for _, key := range oddKeys {
				r, err := RemoveRequest(b.Name(), key, revisions[key])
				if err != nil {
					t.Fatal(err)
				}
				send(t, nc, r)
			}
			for _, key := range meanwhile {
				publishRaw(t, b, key, "v")
			}
			fleettest.Eventually(t, soon, "none is set aside any more", func() bool {
				n, keys := shown(a.aside)
				return n == 0 || n == 1 && keys == "worse!"
			})
			if _, ok := a.get("state.pi-1.web"); !ok {
				t.Error("the good key is gone from the view")
			}
		})
	}
}

func TestRemoveRequest_BodyIsJSON(t *testing.T) {
	r, err := RemoveRequest(fleet.BucketDeviceState, `a"b`, 7)
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Filter string
		Seq    uint64
	}
	if err := json.Unmarshal(r.Body, &body); err != nil || body.Filter != `$KV.device-state.a"b` || body.Seq != 8 {
		t.Errorf("body %s: %v", r.Body, err)
	}
}
