package fleet

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestKeys_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := genPair().Draw(t, "pair")
		if got, err := ParseDesiredKey(DesiredKey(p)); got != p || err != nil {
			t.Fatalf("desired: %v, %v", got, err)
		}
		if got, err := ParseStateKey(StateKey(p)); got != p || err != nil {
			t.Fatalf("state: %v, %v", got, err)
		}
		if got, err := ParseInfoKey(InfoKey(p.Device)); got != p.Device || err != nil {
			t.Fatalf("info: %v, %v", got, err)
		}
		if got, err := ParseHeartbeatKey(HeartbeatKey(p.Device)); got != p.Device || err != nil {
			t.Fatalf("heartbeat: %v, %v", got, err)
		}
		if got, ok := ParseAppliedKey(AppliedKey(p.Deployment)); got != p.Deployment || !ok {
			t.Fatalf("applied: %v, %v", got, ok)
		}
		if got, err := ParseResourceKey(DeploymentKey(p.Deployment)); got != (ResourceKey{Deployment: p.Deployment}) || err != nil {
			t.Fatalf("deployment: %v, %v", got, err)
		}
		if got, err := ParseResourceKey(DeviceKey(p.Device)); got != (ResourceKey{Device: p.Device}) || err != nil {
			t.Fatalf("device: %v, %v", got, err)
		}
	})
}

// A builder takes what it is given: a name that is none must not come back as another one.
func TestKeys_IllegalNamesDoNotParse(t *testing.T) {
	for _, bad := range illegalNames() {
		device, deployment := DeviceID(bad), DeploymentName(bad)
		for _, p := range []Pair{{device, "web"}, {"pi-07", deployment}, {device, deployment}} {
			if got, err := ParseDesiredKey(DesiredKey(p)); !errors.Is(err, ErrIllegalKey) || got != (Pair{}) {
				t.Errorf("desired key of %q: %v, %v", p, got, err)
			}
			if got, err := ParseStateKey(StateKey(p)); !errors.Is(err, ErrIllegalKey) || got != (Pair{}) {
				t.Errorf("state key of %q: %v, %v", p, got, err)
			}
		}
		if got, err := ParseInfoKey(InfoKey(device)); !errors.Is(err, ErrIllegalKey) || got != "" {
			t.Errorf("info key of %q: %v, %v", bad, got, err)
		}
		if got, err := ParseHeartbeatKey(HeartbeatKey(device)); !errors.Is(err, ErrIllegalKey) || got != "" {
			t.Errorf("heartbeat key of %q: %v, %v", bad, got, err)
		}
		if got, ok := ParseAppliedKey(AppliedKey(deployment)); ok {
			t.Errorf("applied key of %q: %v", bad, got)
		}
		for _, key := range []string{DeploymentKey(deployment), DeviceKey(device)} {
			if got, err := ParseResourceKey(key); !errors.Is(err, ErrIllegalKey) || got != (ResourceKey{}) {
				t.Errorf("resource key %q: %v, %v", key, got, err)
			}
		}
	}
}

// Book-keeping is never mistaken for an entry, nor an entry for book-keeping.
func TestKeys_ReservedAreApart(t *testing.T) {
	for _, key := range []string{KeyLease, KeyEpoch, KeyHold, KeySynced, AppliedKey("web")} {
		if !IsReserved(key) {
			t.Errorf("%s is not reserved", key)
		}
		if p, err := ParseDesiredKey(key); err == nil {
			t.Errorf("%s is the key of %v", key, p)
		}
		if r, err := ParseResourceKey(key); err == nil {
			t.Errorf("%s is the key of %v", key, r)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p := genPair().Draw(t, "pair")
		for _, key := range []string{DesiredKey(p), StateKey(p), InfoKey(p.Device), HeartbeatKey(p.Device), DeploymentKey(p.Deployment), DeviceKey(p.Device)} {
			if IsReserved(key) {
				t.Fatalf("%s is reserved", key)
			}
		}
	})
}

func TestSubjectKey(t *testing.T) {
	buckets := []string{BucketDesiredState, BucketResources, BucketLeases, BucketDeviceInfo, BucketDeviceState, BucketDeviceHeartbeat}
	for _, bucket := range buckets {
		if got, ok := ParseStreamName(StreamName(bucket)); got != bucket || !ok {
			t.Errorf("stream of %s: %q, %v", bucket, got, ok)
		}
		for _, other := range buckets {
			key, ok := SubjectKey(bucket, KeySubject(other, "pi-07.web"))
			if ok != (bucket == other) || ok && key != "pi-07.web" {
				t.Errorf("subject of %s in %s: %q, %v", other, bucket, key, ok)
			}
		}
		if _, ok := SubjectKey(bucket, KeySubject(bucket, "")); ok {
			t.Errorf("%s: an empty key", bucket)
		}
	}
	for _, s := range []string{"", "KV_", "OBJ_x", "kv_x"} {
		if got, ok := ParseStreamName(s); ok {
			t.Errorf("stream %q is bucket %q", s, got)
		}
	}
}

func TestIllegalKey_ErrorIsBounded(t *testing.T) {
	_, err := ParseDesiredKey(strings.Repeat("x", 1<<20))
	if err == nil || len(err.Error()) > 500 {
		t.Errorf("error of %d bytes", len(err.Error()))
	}
}

func FuzzParseDesiredKey(f *testing.F) {
	for _, s := range append(illegalNames(), "pi-07.web", "pi-07.web.x", "_applied.web", KeyLease) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		p, err := ParseDesiredKey(key)
		checkParsed(t, key, DesiredKey(p), err, p.Device.Validate(), p.Deployment.Validate())
	})
}

func FuzzParseStateKey(f *testing.F) {
	for _, s := range append(illegalNames(), "state.pi-07.web", "state.pi-07", "pi-07.web", "state.state.state") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		p, err := ParseStateKey(key)
		checkParsed(t, key, StateKey(p), err, p.Device.Validate(), p.Deployment.Validate())
	})
}

func FuzzParseResourceKey(f *testing.F) {
	for _, s := range append(illegalNames(), "deployment.web", "device.pi-07", "device.device", "deployment.", "deployment.a.b", KeySynced) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		r, err := ParseResourceKey(key)
		switch {
		case err != nil && r != (ResourceKey{}):
			t.Fatalf("%q: %v beside %v", key, r, err)
		case err == nil && (r.Device == "") == (r.Deployment == ""):
			t.Fatalf("%q: not exactly one of %+v", key, r)
		case r.Device != "":
			checkParsed(t, key, DeviceKey(r.Device), err, r.Device.Validate())
		case r.Deployment != "":
			checkParsed(t, key, DeploymentKey(r.Deployment), err, r.Deployment.Validate())
		}
	})
}

// checkParsed fails unless what was parsed is valid and is built into the same text again.
func checkParsed(t *testing.T, text, again string, err error, invalid ...error) {
	t.Helper()
	if err != nil {
		return
	}
	if again != text {
		t.Fatalf("%q parsed, but is built as %q", text, again)
	}
	if err := errors.Join(invalid...); err != nil {
		t.Fatalf("%q parsed, but: %v", text, err)
	}
}
