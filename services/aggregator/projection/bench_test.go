package projection_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/decode"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/services/aggregator/projection"
)

// large is a fleet of n pairs: ten Deployments on each device.
type large struct {
	pairs  []fleet.Pair
	value  []byte
	report fleet.Report
}

func newLarge(b *testing.B, n int) large {
	b.Helper()
	l := large{value: []byte(value("u1", 1))}
	l.report = fleet.Report{Phase: fleet.PhaseRunning, ObservedHash: fleet.Hash(l.value), LastEventAt: "2026-03-01T12:00:00Z"}
	for i := range n {
		l.pairs = append(l.pairs, fleet.Pair{
			Device:     fleet.DeviceID(fmt.Sprintf("device-%07d", i/10)),
			Deployment: fleet.DeploymentName(fmt.Sprintf("deployment-%d", i%10)),
		})
	}
	return l
}

func (l large) origin(i int) projection.Origin {
	return projection.Origin{Revision: uint64(i + 1), At: epoch.Add(time.Duration(i) * time.Millisecond)}
}

func (l large) fold(b *testing.B, s *projection.State) {
	for i, p := range l.pairs {
		if err := s.PutDesired(p, l.value, epoch); err != nil {
			b.Fatal(err)
		}
		s.PutReport(p, l.report, l.origin(i))
	}
}

func sizes(b *testing.B, f func(b *testing.B, n int)) {
	for _, n := range []int{1_000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("%dk", n/1000), func(b *testing.B) { f(b, n) })
	}
}

// BenchmarkFold reads a whole fleet: one desired value and one report for each pair.
func BenchmarkFold(b *testing.B) {
	transport := fleettest.Transport(b, make([]byte, 290))
	sizes(b, func(b *testing.B, n int) {
		l := newLarge(b, n)
		held := l.memory(b)
		for b.Loop() {
			l.fold(b, projection.New())
		}
		fleettest.ReportPerTransport(b, transport, n)
		b.ReportMetric(float64(held)/float64(n), "B/pair")
	})
}

// memory returns how many bytes a State of this fleet holds.
func (l large) memory(b *testing.B) uint64 {
	b.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := projection.New()
	l.fold(b, s)
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(s)
	return after.HeapAlloc - before.HeapAlloc
}

// BenchmarkReport changes one report of a fleet in view.
func BenchmarkReport(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		l := newLarge(b, n)
		s := projection.New()
		l.fold(b, s)
		i := 0
		for b.Loop() {
			r := l.report
			if i%2 == 0 {
				r.Phase = fleet.PhaseFailed
			}
			s.PutReport(l.pairs[i*7919%n], r, l.origin(n+i))
			i++
		}
	})
}

// BenchmarkTick moves the cutoff of a fleet in view of which nobody becomes stale.
func BenchmarkTick(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		l := newLarge(b, n)
		s := projection.New()
		l.fold(b, s)
		i := 0
		for b.Loop() {
			s.SetCutoff(epoch.Add(-time.Hour + time.Duration(i)))
			_ = s.Newest()
			_, _ = s.Deployment("deployment-3")
			i++
		}
	})
}

// BenchmarkDecode decodes one report, as the view does before it folds it.
func BenchmarkDecode(b *testing.B) {
	doc, err := json.Marshal(newLarge(b, 1).report)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if _, err := decode.Report(doc); err != nil {
			b.Fatal(err)
		}
	}
}
