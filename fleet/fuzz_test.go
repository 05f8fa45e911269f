package fleet

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// FuzzDecode feeds every decoder of a KV value. What one accepts must come out the same after it was written
// and read again: what a service keeps is what the next one sees.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/golden/v1/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again(t, b, DecodeDesired)
		again(t, b, DecodeApplied)
		again(t, b, DecodeHold)
		again(t, b, DecodeLease)
		again(t, b, DecodeEpoch)
		again(t, b, DecodeMirrorDeployment)
		again(t, b, DecodeMirrorDevice)
		again(t, b, DecodeSynced)
		again(t, b, DecodeInfo)
		again(t, b, DecodeHeartbeat)
	})
}

func again[T any](t *testing.T, b []byte, decode func([]byte) (T, error)) {
	t.Helper()
	first, err := decode(b)
	if err != nil {
		return
	}
	written, err := json.Marshal(first)
	if err != nil {
		t.Fatalf("%T from %q cannot be written: %v", first, b, err)
	}
	second, err := decode(written)
	if err != nil {
		t.Fatalf("%T from %q cannot be read again as %q: %v", first, b, written, err)
	}
	rewritten, err := json.Marshal(second)
	if err != nil || !reflect.DeepEqual(written, rewritten) {
		t.Fatalf("%T from %q is %q, then %q (%v)", first, b, written, rewritten, err)
	}
}

// FuzzParseNames feeds the parsers of keys, subjects and headers that have one name: what one accepts, its
// builder makes again, and the name is legal.
func FuzzParseNames(f *testing.F) {
	for _, s := range append(illegalNames(), "info.pi-07", "heartbeat.pi-07", "_applied.web", ResyncSubject("pi-07"), "info.info", "17", "017", "18446744073709551615") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		device, err := ParseInfoKey(s)
		checkParsed(t, s, InfoKey(device), err, device.Validate())
		device, err = ParseHeartbeatKey(s)
		checkParsed(t, s, HeartbeatKey(device), err, device.Validate())
		device, err = ParseResyncSubject(s)
		if s == SubjectResyncAll {
			return
		}
		checkParsed(t, s, ResyncSubject(device), err, device.Validate())
		if name, ok := ParseAppliedKey(s); ok {
			checkParsed(t, s, AppliedKey(name), nil, name.Validate())
		}
		if epoch, err := ParseEpoch(s); err == nil && FormatEpoch(epoch) != s {
			t.Fatalf("epoch %q is %d", s, epoch)
		}
	})
}
