package decode

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"harmony.dev/fleet"
)

const hash = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"

// documents are plain ones, and ones that are just not plain in each way there is.
func documents() []string {
	report := func(rest string) string {
		return `{"phase":"Running","observedHash":"` + hash + `","lastEventAt":"2026-03-04T05:06:07Z"` + rest + `}`
	}
	return []string{
		report(``),
		report(`,"lastError":""`),
		report(`,"lastError":"no space left"`),
		report(`,"lastError":"é😀` + "\u2028\x7f" + `"`),
		" \t\r\n" + strings.NewReplacer(`:`, " :\n", `,`, "\t,\r").Replace(report(``)) + "\n",
		`{"lastEventAt":"2026-03-04T05:06:07.123456789+01:00","observedHash":"` + hash + `","phase":"Pending"}`,
		`{"lastError":"e","lastEventAt":"2026-03-04T05:06:07Z","observedHash":"` + hash + `","phase":"Failed"}`,

		report(`,"lastError":"a \"quoted\" \u00e9 \ud800 \\"`),
		report(`,"lastError":"` + "\xff" + `"`),
		report(`,"lastError":"` + "\xed\xa0\x80" + `"`),
		report(`,"lastError":"` + "\x01" + `"`),
		report(`,"lastError":"\`),
		report(`,"lastError":null`),
		report(`,"lastError":1`),
		report(`,"LASTERROR":"e"`),
		report(`,"la\u0073tError":"e"`),
		report(`,"phase":"Failed"`),
		report(`,"phase":"failed"`),
		report(`,"phase":null`),
		report(`,"Phase":"Failed"`),
		report(`,"lastError":"a","lastError":""`),
		report(`,"lastError":"","lastError":"b"`),
		report(`,"unknown":"x"`),
		report(`,"unknown":{"deep":[1,{}]}`),
		report(`,"unknown":` + strings.Repeat("[", 100) + strings.Repeat("]", 100)),
		report(`,"":""`),
		report(`,`),
		report(`,"lastError"`),
		report(`,"lastError":`),
		report(`,"lastError":"e"x`),
		report(`,"ſ":"long s"`),
		report(``) + "\x00",
		report(``) + "{}",
		report(``) + "}",
		"\ufeff" + report(``),
		"\v" + report(``),
		report(``)[1:],
		"[" + report(``) + "]",
		strings.Replace(report(``), "Running", "running", 1),
		strings.Replace(report(``), "ca97", "CA97", 1),
		strings.Replace(report(``), hash, hash[1:], 1),
		strings.Replace(report(``), "03-04", "02-30", 1),
		strings.Replace(report(``), "07Z", "07+24:00", 1),
		strings.Replace(report(``), "07Z", "07,5Z", 1),
		strings.Replace(report(``), "2026-03-04T05:06:07Z", "9999-12-31T23:59:59-01:00", 1),
		strings.Replace(report(``), "\"phase\"", "\"phases\"", 1),
		strings.Repeat(" ", fleet.MaxReportSize-len(report(``))) + report(``),
		strings.Repeat(" ", fleet.MaxReportSize-len(report(``))+1) + report(``),
		``, ` `, `{`, `{}`, `{ }`, `{"`, `{"phase`, `{"phase"`, `{"phase":`, `{"phase":"`, `{"phase":"Running"`, `null`, `"x"`, `{"phase":"Running"}`, `{,}`, `{"a":"b",}`,
	}
}

func TestReport_EqualsReference(t *testing.T) {
	for _, doc := range documents() {
		for i := range len(doc) + 1 { // and each of its beginnings
			if err := differs([]byte(doc[:i])); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestReport_EqualsReference_Mutated(t *testing.T) {
	seeds := documents()
	pieces := []string{`"`, `\`, `{`, `}`, `:`, `,`, `[`, `]`, ` `, "\n", "\x00", "\xff", "é", `\u0041`, `\ud800`, `null`, `1`, `"phase":`, `"Phase":"Failed",`, `"lastError":"x",`, `Z`, `+24:00`}
	rapid.Check(t, func(t *rapid.T) {
		doc := rapid.SampledFrom(seeds).Draw(t, "seed")
		for range rapid.IntRange(1, 4).Draw(t, "mutations") {
			at := rapid.IntRange(0, len(doc)).Draw(t, "at")
			cut := rapid.IntRange(0, min(3, len(doc)-at)).Draw(t, "cut")
			doc = doc[:at] + rapid.SampledFrom(append(pieces, "")).Draw(t, "piece") + doc[at+cut:]
		}
		if err := differs([]byte(doc)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReport_EqualsReference_Generated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := fleet.Report{
			Phase:        fleet.Phase(rapid.SampledFrom([]string{"Pending", "Running", "Failed", "Other"}).Draw(t, "phase")),
			ObservedHash: fleet.Hash([]byte(rapid.String().Draw(t, "value"))),
			LastEventAt:  time.Unix(rapid.Int64Range(-70_000_000_000, 300_000_000_000).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).In(time.FixedZone("", rapid.IntRange(-90_000, 90_000).Draw(t, "zone"))).Format(time.RFC3339Nano),
			LastError:    rapid.String().Draw(t, "error"),
		}
		doc, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "indent") {
			if doc, err = json.MarshalIndent(r, "\r", "\t"); err != nil {
				t.Fatal(err)
			}
		}
		if err := differs(doc); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzReport(f *testing.F) {
	for _, doc := range documents() {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if err := differs(doc); err != nil {
			t.Fatal(err)
		}
	})
}

// differs compares with the reference: the result, and the whole text of the error.
func differs(doc []byte) error {
	input := string(doc)
	got, gotErr := Report(doc)
	want, wantErr := fleet.DecodeReport([]byte(input))
	switch {
	case string(doc) != input:
		return fmt.Errorf("%q: the input was changed", input)
	case got != want:
		return fmt.Errorf("%q: got %+v, want %+v", input, got, want)
	case fmt.Sprint(gotErr) != fmt.Sprint(wantErr):
		return fmt.Errorf("%q: got error %q, want %q", input, fmt.Sprint(gotErr), fmt.Sprint(wantErr))
	}
	// What was returned must not be the caller's memory, which the client reuses.
	clear(doc)
	if got != want {
		return fmt.Errorf("%q: the result is part of the input", input)
	}
	return nil
}

// What agents write must not fall back, or the speed is lost without a test to see it.
func TestScan_TakesWhatAgentsWrite(t *testing.T) {
	for _, r := range []fleet.Report{
		{Phase: fleet.PhaseRunning, ObservedHash: hash, LastEventAt: "2026-03-04T05:06:07.123456789Z"},
		{Phase: fleet.PhaseFailed, ObservedHash: hash, LastEventAt: "2026-03-04T05:06:07+01:00", LastError: "start: port 80 <in use> é"},
	} {
		doc, err := fleet.EncodeReport(r)
		if err != nil {
			t.Fatal(err)
		}
		p, ok := scan(doc)
		if !ok || p.report() != r {
			t.Errorf("%s: %v, %+v", doc, ok, p.report())
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = Report(doc) }); n > 1 {
			t.Errorf("%s: %v allocations", doc, n)
		}
	}
}
