package decode

import (
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// benchDocument is a report of about 290 bytes, the size that the measurements of the transport use.
func benchDocument(tb testing.TB) []byte {
	tb.Helper()
	doc, err := fleet.EncodeReport(fleet.Report{
		Phase: fleet.PhaseFailed, ObservedHash: hash, LastEventAt: "2026-03-04T05:06:07.123456789Z",
		LastError: "start web: " + strings.Repeat("no space left on device; ", 4),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return doc
}

func BenchmarkReport(b *testing.B) {
	doc := benchDocument(b)
	running, err := fleet.EncodeReport(fleet.Report{Phase: fleet.PhaseRunning, ObservedHash: hash, LastEventAt: "2026-03-04T05:06:07Z"})
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name   string
		doc    []byte
		decode func([]byte) (fleet.Report, error)
	}{
		{"failed/fast", doc, Report},
		{"failed/encoding-json", doc, fleet.DecodeReport},
		{"running/fast", running, Report},
		{"running/encoding-json", running, fleet.DecodeReport},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(bench.doc)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bench.decode(bench.doc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDesiredHash is the other half of counting a report: of a desired value only the hash counts.
func BenchmarkDesiredHash(b *testing.B) {
	doc := benchDocument(b)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		_ = fleet.Hash(doc)
	}
}

// BenchmarkAgainstTransport reads the same reports from a stream by a push consumer and decodes them
// apart from that. The ratios say how much the decoder costs of what the transport costs.
func BenchmarkAgainstTransport(b *testing.B) {
	doc := benchDocument(b)
	const messages = 50_000
	perMessage := fleettest.Transport(b, doc)
	for b.Loop() {
		fast := perCall(b, doc, messages, Report)
		reference := perCall(b, doc, messages, fleet.DecodeReport)
		b.ReportMetric(float64(perMessage), "transport-ns/msg")
		b.ReportMetric(float64(fast), "fast-ns/msg")
		b.ReportMetric(float64(reference), "json-ns/msg")
		b.ReportMetric(float64(fast)/float64(perMessage), "fast/transport")
		b.ReportMetric(float64(reference)/float64(perMessage), "json/transport")
	}
}

func perCall(b *testing.B, doc []byte, n int, decode func([]byte) (fleet.Report, error)) time.Duration {
	b.Helper()
	begin := time.Now()
	for range n {
		if _, err := decode(doc); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(begin) / time.Duration(n)
}
