package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEncodeDesired_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data, err := json.Marshal(genJSON(3).Draw(t, "data"))
		if err != nil {
			t.Fatal(err)
		}
		d := Desired{UID: genName().Draw(t, "uid"), Score: Score{Type: rapid.StringMatching(`[a-zA-Z][a-zA-Z0-9./-]{0,62}`).Draw(t, "type"), Data: data}}
		b, err := EncodeDesired(d)
		if err != nil {
			t.Fatal(err)
		}
		if canonical, err := Canonical(b); err != nil || !bytes.Equal(canonical, b) {
			t.Fatalf("not canonical: %s, %v", b, err)
		}
		got, err := DecodeDesired(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := EncodeDesired(got)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%s, then %s, %v", b, again, err)
		}
	})
}

// Whatever can be encoded can be decoded: the largest score, the deepest data, the longest uid.
func TestEncodeDesired_Extremes(t *testing.T) {
	fill := func(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat("x", n) + `"`) }
	room := MaxScoreSize - len(`{"data":"","type":"t"}`)
	uid := strings.Repeat(`"`, MaxUIDSize) // each byte is escaped
	for name, d := range map[string]Desired{
		"largest": {UID: uid, Score: Score{Type: "t", Data: fill(room)}},
		"deepest": {UID: uid, Score: Score{Type: "t", Data: json.RawMessage(nested(MaxDataDepth))}},
	} {
		b, err := EncodeDesired(d)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := DecodeDesired(b); err != nil {
			t.Errorf("%s: encoded, but %v", name, err)
		}
		mirrored, err := json.Marshal(MirrorDeployment{UID: d.UID, Score: d.Score})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeMirrorDeployment(mirrored); err != nil {
			t.Errorf("%s: mirrored, but %v", name, err)
		}
	}
	for name, s := range map[string]Score{
		"one byte too many":  {Type: "t", Data: fill(room + 1)},
		"one level too deep": {Type: "t", Data: json.RawMessage(nested(MaxDataDepth + 1))},
	} {
		if err := s.Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestScore_Validate(t *testing.T) {
	for _, good := range []Score{{Type: "a"}, {Type: "helm.sh/v2"}, {Type: "Container-1", Data: []byte(" {} ")}, {Type: strings.Repeat("t", MaxNameLength)}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []Score{
		{},
		{Type: "1a"},
		{Type: "-"},
		{Type: "a b"},
		{Type: "a\n"},
		{Type: "é"},
		{Type: "a_b"},
		{Type: strings.Repeat("t", MaxNameLength+1)},
		{Type: "a", Data: []byte(" ")},
		{Type: "a", Data: []byte("{")},
		{Type: "a", Data: []byte("{}{}")},
		{Type: "a", Data: []byte(`"\ud800"`)},
	} {
		if err := bad.Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
		if b, err := EncodeDesired(Desired{UID: "u", Score: bad}); err == nil {
			t.Errorf("%+v: encoded as %s", bad, b)
		}
	}
}

func TestDecodeDesired_Refuses(t *testing.T) {
	for _, doc := range []string{
		"", "null", "[]", `"x"`, "{}", `{"uid":"u"}`, `{"uid":"","score":{"type":"t"}}`, `{"uid":"u","score":null}`, `{"uid":1,"score":{"type":"t"}}`,
		`{"uid":"u v","score":{"type":"t"}}`, `{"uid":"` + strings.Repeat("u", MaxUIDSize+1) + `","score":{"type":"t"}}`,
		`{"uid":"u","score":{"type":"t"}} x`, `{"uid":"u","score":{"type":"t"}}` + strings.Repeat(" ", MaxDesiredSize),
		`{"uid":"u","score":{"type":"t","data":` + nested(MaxDepth) + `}}`, `{"uid":"u","score":{"type":"t","data":"\udc00"}}`,
	} {
		if d, err := DecodeDesired([]byte(doc)); !errors.Is(err, ErrInvalid) || !reflect.DeepEqual(d, Desired{}) {
			t.Errorf("%.60s: %+v, %v", doc, d, err)
		}
	}
}

func TestApplied_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := Applied{
			UID: genName().Draw(t, "uid"), Generation: rapid.Int64Min(0).Draw(t, "generation"),
			Invalid: rapid.StringN(0, 3000, -1).Draw(t, "invalid"), Held: genName().Draw(t, "held"),
		}
		b, err := EncodeApplied(a)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeApplied(b)
		a.Invalid = ClipError(a.Invalid)
		if err != nil || got != a {
			t.Fatalf("got %+v, %v, want %+v", got, err, a)
		}
	})
	if b, err := EncodeApplied(Applied{UID: "u", Invalid: strings.Repeat("\x01", 1<<20)}); err != nil || len(b) > maxRecordSize {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestDecodeRecords_Refuse(t *testing.T) {
	huge := `"` + strings.Repeat("x", maxRecordSize) + `"`
	for _, doc := range []string{"", "null", "[]", "{}", `{"uid":"u","generation":-1}`, `{"uid":"u","generation":1.5}`, `{"uid":"u","invalid":` + huge + `}`} {
		if a, err := DecodeApplied([]byte(doc)); !errors.Is(err, ErrInvalid) || a != (Applied{}) {
			t.Errorf("applied %.40s: %+v, %v", doc, a, err)
		}
	}
	for _, doc := range []string{"", "null", "{}", `{"id":""}`, `{"id":"h","upTo":-1}`, `{"id":` + huge + `}`} {
		if h, err := DecodeHold([]byte(doc)); !errors.Is(err, ErrInvalid) || h != (Hold{}) {
			t.Errorf("hold %.40s: %+v, %v", doc, h, err)
		}
	}
	for _, doc := range []string{"", "null", "{}", `{"epoch":0}`, `{"epoch":-1}`, `{"epoch":"1"}`} {
		if s, err := DecodeSynced([]byte(doc)); !errors.Is(err, ErrInvalid) || s != (Synced{}) {
			t.Errorf("synced %s: %+v, %v", doc, s, err)
		}
	}
}

func TestDecodeMirror(t *testing.T) {
	for _, tc := range []struct {
		doc  string
		good bool
	}{
		{`{"uid":"u","generation":1}`, true},
		{`{"uid":"u","generation":1,"newField":{"deep":[1]}}`, true},
		{`{"tombstone":{"uid":"u","cause":"deleted","at":"2026-03-04T05:06:07Z"}}`, true},
		{`{"tombstone":{"cause":"vanished","at":"2026-03-04T05:06:07Z"}}`, true},
		{``, false},
		{`null`, false},
		{`{}`, false},
		{`{"uid":""}`, false},
		{`{"uid":"u","generation":-1}`, false},
		{`{"tombstone":{"uid":"u","cause":"other","at":"2026-03-04T05:06:07Z"}}`, false},
		{`{"tombstone":{"uid":"u","cause":"deleted","at":"yesterday"}}`, false},
		{`{"uid":"u"}` + strings.Repeat(" ", MaxMirrorSize), false},
	} {
		d, err := DecodeMirrorDeployment([]byte(tc.doc))
		if (err == nil) != tc.good || err != nil && (!errors.Is(err, ErrInvalid) || !reflect.DeepEqual(d, MirrorDeployment{})) {
			t.Errorf("deployment %.60s: %+v, %v", tc.doc, d, err)
		}
		v, err := DecodeMirrorDevice([]byte(tc.doc))
		if (err == nil) != tc.good || err != nil && (!errors.Is(err, ErrInvalid) || !reflect.DeepEqual(v, MirrorDevice{})) {
			t.Errorf("device %.60s: %+v, %v", tc.doc, v, err)
		}
	}
}

// A score that cannot be applied still gets through the mirror: the reconciler shows it as invalid.
func TestDecodeMirrorDeployment_CarriesBadScores(t *testing.T) {
	for _, data := range []string{nested(MaxDepth + 100), `"\ud800"`, `"` + strings.Repeat("x", MaxScoreSize) + `"`} {
		d, err := DecodeMirrorDeployment([]byte(`{"uid":"u","score":{"type":"t","data":` + data + `}}`))
		if err != nil {
			t.Errorf("%.40s: %v", data, err)
		}
		if err := d.Score.Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.40s: the score is valid: %v", data, err)
		}
	}
}
