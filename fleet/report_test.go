package fleet

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

const aHash = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"

func TestHash(t *testing.T) {
	if got := Hash([]byte("a")); got != aHash {
		t.Errorf("got %s", got)
	}
}

func TestReport_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Report{
			Phase:        rapid.SampledFrom([]Phase{PhasePending, PhaseRunning, PhaseFailed}).Draw(t, "phase"),
			ObservedHash: Hash([]byte(rapid.String().Draw(t, "value"))),
			LastEventAt:  time.Unix(rapid.Int64Range(0, 250_000_000_000).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC().Format(time.RFC3339Nano),
			LastError:    rapid.OneOf(genText(), rapid.StringN(0, 3000, -1)).Draw(t, "error"),
		}
		b, err := EncodeReport(r)
		if err != nil {
			t.Fatal(err)
		}
		r.LastError = ClipError(r.LastError)
		if got, err := DecodeReport(b); err != nil || got != r {
			t.Fatalf("got %+v, %v, want %+v", got, err, r)
		}
	})
}

// No text of an error makes a report that its readers refuse.
func TestEncodeReport_AnyErrorText(t *testing.T) {
	r := Report{Phase: PhaseFailed, ObservedHash: aHash, LastEventAt: "2026-03-04T05:06:07Z"}
	for _, text := range []string{strings.Repeat("\x00", 1<<20), strings.Repeat("\xff", 1<<20), strings.Repeat("\u2028", 1<<20)} {
		r.LastError = text
		b, err := EncodeReport(r)
		if err != nil || len(b) > MaxReportSize {
			t.Errorf("%.8q: %d bytes, %v", text, len(b), err)
		}
		if _, err := DecodeReport(b); err != nil {
			t.Errorf("%.8q: %v", text, err)
		}
	}
}

func TestDecodeReport_Refuses(t *testing.T) {
	for name, doc := range map[string]string{
		"nothing":           ``,
		"null":              `null`,
		"array":             `[]`,
		"empty object":      `{}`,
		"no phase":          `{"observedHash":"` + aHash + `","lastEventAt":"2026-03-04T05:06:07Z"}`,
		"other phase":       `{"phase":"running","observedHash":"` + aHash + `","lastEventAt":"2026-03-04T05:06:07Z"}`,
		"no hash":           `{"phase":"Running","lastEventAt":"2026-03-04T05:06:07Z"}`,
		"upper-case hash":   `{"phase":"Running","observedHash":"` + strings.ToUpper(aHash) + `","lastEventAt":"2026-03-04T05:06:07Z"}`,
		"short hash":        `{"phase":"Running","observedHash":"` + aHash[1:] + `","lastEventAt":"2026-03-04T05:06:07Z"}`,
		"no time":           `{"phase":"Running","observedHash":"` + aHash + `"}`,
		"wrong time":        `{"phase":"Running","observedHash":"` + aHash + `","lastEventAt":"2026-02-30T05:06:07Z"}`,
		"number for text":   `{"phase":"Running","observedHash":"` + aHash + `","lastEventAt":1772600767}`,
		"trailing":          `{"phase":"Running","observedHash":"` + aHash + `","lastEventAt":"2026-03-04T05:06:07Z"} {}`,
		"not UTF-8":         `{"phase":"Running","observedHash":"` + aHash + `","lastEventAt":"2026-03-04T05:06:07Z","lastError":"` + "\xff" + `"}`,
		"too deep":          `{"phase":"Running","observedHash":"` + aHash + `","lastEventAt":"2026-03-04T05:06:07Z","x":` + nested(MaxDepth) + `}`,
		"too large":         `{"phase":"Running","observedHash":"` + aHash + `","lastEventAt":"2026-03-04T05:06:07Z"}` + strings.Repeat(" ", MaxReportSize),
		"too late for UTC":  `{"phase":"Running","observedHash":"` + aHash + `","lastEventAt":"9999-12-31T23:59:59-01:00"}`,
		"offset of one day": `{"phase":"Running","observedHash":"` + aHash + `","lastEventAt":"2026-03-04T05:06:07+24:00"}`,
	} {
		if r, err := DecodeReport([]byte(doc)); !errors.Is(err, ErrInvalid) || r != (Report{}) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// What encoding/json makes of these is part of the contract, for as long as it is the reference.
func TestDecodeReport_AsEncodingJSON(t *testing.T) {
	want := Report{Phase: PhaseRunning, ObservedHash: aHash, LastEventAt: "2026-03-04T05:06:07Z", LastError: "\ufffd"}
	for name, doc := range map[string]string{
		"names in any case":      `{"PHASE":"Running","observedhash":"` + aHash + `","lasteventat":"2026-03-04T05:06:07Z","LastError":"\ufffd"}`,
		"the last duplicate":     `{"phase":"Failed","phase":"Running","observedHash":"` + aHash + `","lastEventAt":"2026-03-04T05:06:07Z","lastError":"\ufffd"}`,
		"unknown fields":         `{"new":{"a":[null]},"phase":"Running","observedHash":"` + aHash + `","lastEventAt":"2026-03-04T05:06:07Z","lastError":"\ufffd"}`,
		"null keeps":             `{"phase":"Running","phase":null,"observedHash":"` + aHash + `","lastEventAt":"2026-03-04T05:06:07Z","lastError":"\ufffd"}`,
		"half a surrogate pair":  `{"phase":"Running","observedHash":"` + aHash + `","lastEventAt":"2026-03-04T05:06:07Z","lastError":"\ud800"}`,
		"escapes in every place": `{"\u0070hase":"R\u0075nning","observedHash":"` + aHash + `","lastEventAt":"2026-03-04T05:06:07\u005a","lastError":"\ufffd"}`,
	} {
		if got, err := DecodeReport([]byte(doc)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzDecodeReport(f *testing.F) {
	f.Add([]byte(`{"phase":"Running","observedHash":"` + aHash + `","lastEventAt":"2026-03-04T05:06:07.89+01:00"}`))
	f.Add([]byte(`{"phase":"Failed","observedHash":"` + aHash + `","lastEventAt":"2026-03-04T05:06:07Z","lastError":"\ud83d\ude00<"}`))
	f.Add([]byte(`{"Phase":"Pending","x":[[1]],"phase":null}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		r, err := DecodeReport(doc)
		if err != nil {
			if r != (Report{}) || !errors.Is(err, ErrInvalid) {
				t.Fatalf("%q: %+v beside %v", doc, r, err)
			}
			return
		}
		if err := r.Validate(); err != nil {
			t.Fatalf("%q decodes to an invalid report: %v", doc, err)
		}
		if _, err := json.Marshal(LastError{At: r.EventTime(), Message: ClipError(r.LastError)}); err != nil {
			t.Fatalf("%q cannot be shown in a status: %v", doc, err)
		}
		b, err := EncodeReport(r)
		if err != nil {
			t.Fatalf("%q cannot be encoded again: %v", doc, err)
		}
		r.LastError = ClipError(r.LastError)
		if again, err := DecodeReport(b); err != nil || again != r {
			t.Fatalf("%q: %+v, then %+v, %v", doc, r, again, err)
		}
	})
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]string{
		"2026-03-04T05:06:07Z":               "2026-03-04T05:06:07Z",
		"2026-03-04T05:06:07.890+01:00":      "2026-03-04T04:06:07.89Z",
		"2024-02-29T00:00:00-00:00":          "2024-02-29T00:00:00Z",
		"2026-03-04T05:06:07.1234567891234Z": "2026-03-04T05:06:07.123456789Z",
		"2026-03-04T05:06:07-23:59":          "2026-03-05T05:05:07Z",
		"0000-01-01T00:00:00Z":               "0000-01-01T00:00:00Z",
		"9999-12-31T23:59:59Z":               "9999-12-31T23:59:59Z",
	} {
		got, err := ParseTime(text)
		if err != nil || got.Location() != time.UTC || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
		if r := (Report{LastEventAt: text}); !r.EventTime().Equal(got) {
			t.Errorf("%s: EventTime %s", text, r.EventTime())
		}
	}
	for _, text := range []string{
		"", "2026-03-04", "2026-03-04 05:06:07Z", "2026-03-04t05:06:07z", "2026-03-04T05:06Z", "2026-03-04T05:06:07", "2026-03-04T5:06:07Z",
		"2026-03-04T05:06:07,5Z", "2026-03-04T05:06:07.Z", "2026-02-29T05:06:07Z", "2026-13-01T05:06:07Z", "2026-03-04T24:00:00Z", "2026-03-04T23:59:60Z",
		"2026-03-04T05:06:07+24:00", "2026-03-04T05:06:07+01:60", "2026-03-04T05:06:07+1:00", "2026-03-04T05:06:07+0100", "+2026-03-04T05:06:07Z",
		"0000-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "2026-03-04T05:06:07." + strings.Repeat("0", MaxTimeSize) + "Z", "now",
	} {
		if got, err := ParseTime(text); !errors.Is(err, ErrInvalid) || !got.IsZero() {
			t.Errorf("%s: %s, %v", text, got, err)
		}
		if r := (Report{LastEventAt: text}); !r.EventTime().IsZero() {
			t.Errorf("%s: EventTime %s", text, r.EventTime())
		}
	}
}

// A time that parses can always be encoded.
func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2026-03-04T05:06:07Z", "2026-03-04T05:06:07,5Z", "2026-03-04T5:06:07.1+24:00", "0000-01-01T00:00:00+01:00", "9999-12-31T23:59:59.999999999-12:60"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := ParseTime(s)
		if err != nil {
			return
		}
		b, err := json.Marshal(at)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		var again time.Time
		if err := json.Unmarshal(b, &again); err != nil || !again.Equal(at) {
			t.Fatalf("%q: %s, then %s, %v", s, at, again, err)
		}
	})
}

func TestClipError(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"short", "exit 1", "exit 1"},
		{"exact", strings.Repeat("x", MaxErrorSize), strings.Repeat("x", MaxErrorSize)},
		{"long", strings.Repeat("x", MaxErrorSize+1), strings.Repeat("x", MaxErrorSize)},
		{"between characters", strings.Repeat("x", MaxErrorSize-1) + "é", strings.Repeat("x", MaxErrorSize-1)},
		{"between wide characters", strings.Repeat("x", MaxErrorSize-3) + "😀", strings.Repeat("x", MaxErrorSize-3)},
		{"not UTF-8", "a\xff\xfeb", "a?b"},
	} {
		if got := ClipError(tc.text); got != tc.want {
			t.Errorf("%s: %q", tc.name, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "bytes"))
		got := ClipError(s)
		if len(got) > MaxErrorSize || !utf8.ValidString(got) || ClipError(got) != got {
			t.Fatalf("%q becomes %q", s, got)
		}
	})
}

func TestDecodeInfo(t *testing.T) {
	many := func(n int) string {
		facts := map[string]string{}
		for i := range n {
			facts["k"+strings.Repeat("x", i%40)+string(rune('a'+i%26))+string(rune('a'+i/26))] = "v"
		}
		b, err := json.Marshal(facts)
		if err != nil || len(facts) != n {
			t.Fatal(err, len(facts))
		}
		return string(b)
	}
	for _, doc := range []string{`{}`, `{"labels":null}`, `{"labels":{"region":""}}`, `{"labels":` + many(MaxFacts) + `,"inventory":` + many(MaxFacts) + `}`} {
		if _, err := DecodeInfo([]byte(doc)); err != nil {
			t.Errorf("%.60s: %v", doc, err)
		}
	}
	for _, doc := range []string{
		``, `null`, `[]`, `{"labels":{"a b":""}}`, `{"labels":{"a":"b c"}}`, `{"labels":{"a":1}}`, `{"labels":` + many(MaxFacts+1) + `}`, `{"inventory":` + many(MaxFacts+1) + `}`,
		`{"inventory":{"":"x"}}`, `{"inventory":{"` + strings.Repeat("x", MaxNameLength+1) + `":""}}`, `{"inventory":{"x":"` + strings.Repeat("x", MaxErrorSize+1) + `"}}`,
		`{"agentVersion":"` + strings.Repeat("x", MaxVersionLength+1) + `"}`, `{}` + strings.Repeat(" ", MaxInfoSize),
	} {
		if i, err := DecodeInfo([]byte(doc)); !errors.Is(err, ErrInvalid) || !reflect.DeepEqual(i, DeviceInfo{}) {
			t.Errorf("%.60s: %+v, %v", doc, i, err)
		}
	}
}

func TestDecodeHeartbeat(t *testing.T) {
	for doc, good := range map[string]bool{
		`{}`: true, `{"at":"2026-03-04T05:06:07Z"}`: true, `{"at":"","new":1}`: true,
		``: false, `null`: false, `{"at":"noon"}`: false, `{"at":1}`: false, `{}` + strings.Repeat(" ", MaxHeartbeatSize): false,
	} {
		if h, err := DecodeHeartbeat([]byte(doc)); (err == nil) != good || err != nil && (!errors.Is(err, ErrInvalid) || h != Heartbeat{}) {
			t.Errorf("%.40s: %+v, %v", doc, h, err)
		}
	}
}

func TestDigest(t *testing.T) {
	a := map[DeploymentName]string{"web": aHash, "db": aHash}
	if got, want := Digest(a), Hash([]byte("db "+aHash+"\nweb "+aHash+"\n")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := Digest(nil), Hash(nil); got != want {
		t.Errorf("of nothing: got %s, want %s", got, want)
	}
}
