package rpc

import (
	"testing"

	"harmony.dev/fleet"
)

// FuzzDecodeRequest feeds the decoder what a caller may send: an error is one that the caller can be told.
func FuzzDecodeRequest(f *testing.F) {
	for _, s := range []string{``, `{}`, `{"digest":"x","after":"web"}`, `{} {}`, `[`, `{"limit":1e400}`, `null`, "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{&fleet.SnapshotRequest{}, &fleet.DevicesListRequest{}, &fleet.PlanShowRequest{}, &fleet.StatusApplyRequest{}} {
			for _, s := range []strictness{lenient, strict} {
				if err := decodeRequest(data, v, s); err != nil && fleet.CodeOf(err) != fleet.CodeInvalid {
					t.Fatalf("%T from %q: %v", v, data, err)
				}
			}
		}
	})
}
