package plan

import (
	"fmt"
	"testing"

	"harmony.dev/fleet/fleettest"
)

func sizes() []int { return []int{1_000, 10_000, 100_000} }

// fleetOf returns a world of n devices in 8 regions and 16 Deployments, each in 1 of them: 2 keys per device.
func fleetOf(b *testing.B, n int) *world {
	w := newWorld(b)
	for i := range n {
		w.setDevice(fmt.Sprintf("dev-%06d", i), labelled("region", fmt.Sprintf("r%d", i%8), "arch", []string{"arm64", "amd64"}[i%2]))
	}
	for i := range 16 {
		w.setDeployment(fmt.Sprintf("app-%02d", i), wish(1, "a", "region", fmt.Sprintf("r%d", i%8)))
	}
	w.whole()
	return w
}

// BenchmarkPlan measures a whole plan: every key is missing.
func BenchmarkPlan(b *testing.B) {
	transport := fleettest.Transport(b, make([]byte, 290))
	for _, n := range sizes() {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			w := fleetOf(b, n)
			b.ReportAllocs()
			for b.Loop() {
				if puts, _ := countsOf(w.plan()); puts != 2*n {
					b.Fatalf("got %d puts", puts)
				}
			}
			fleettest.ReportPerTransport(b, transport, 2*n)
		})
	}
}

// BenchmarkRelabel measures one changed label in a fleet at rest, event and plan: it must not depend on
// the size of the fleet.
func BenchmarkRelabel(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			w := fleetOf(b, n)
			w.apply(w.plan())
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i++
				w.setDevice("dev-000000", labelled("region", fmt.Sprintf("r%d", i%8)))
				w.plan()
			}
		})
	}
}

// BenchmarkReplay measures reading desired-state: one message per key.
func BenchmarkReplay(b *testing.B) {
	transport := fleettest.Transport(b, make([]byte, 290))
	for _, n := range sizes() {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			w := fleetOf(b, n)
			w.apply(w.plan())
			messages := make([]Message, 0, len(w.desired))
			for _, m := range w.desired {
				messages = append(messages, m)
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, m := range messages {
					if err := w.state.ApplyDesired(m, w.now); err != nil {
						b.Fatal(err)
					}
				}
			}
			fleettest.ReportPerTransport(b, transport, len(messages))
		})
	}
}

func countsOf(p Plan) (puts, deletes int) { return p.Counts() }
