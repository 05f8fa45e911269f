package main

import (
	"fmt"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
)

// BenchmarkApply measures a Deployment on a whole fleet, from the mirror to the last key in the bucket as
// seen by the holder itself: R1, file storage, server in the same process.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			s := newStack(b)
			ops := make([]kv.Write, n)
			for i := range ops {
				id := fleet.DeviceID(fmt.Sprintf("dev-%06d", i))
				ops[i] = kv.Write{Key: fleet.DeviceKey(id), Value: mustJSON(b, fleet.MirrorDevice{UID: "uid-" + string(id), Labels: map[string]string{"region": "north"}})}
			}
			if _, err := s.mirror.Write(b.Context(), ops); err != nil {
				b.Fatal(err)
			}
			s.whole()
			r := s.start(settings{instance: "one"})
			s.rest(r)
			generation := int64(0)
			for b.Loop() {
				generation++
				s.deployment("web", generation, fmt.Sprint(generation), nil, "region", "north")
				for r.view.MirrorSource().Seq < s.said || r.holder.Converging() || !idle(r) {
					time.Sleep(100 * time.Microsecond)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
		})
	}
}

func idle(r *replica) bool {
	p, _ := r.view.Plan()
	return p.Empty()
}
