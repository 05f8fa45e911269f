package record

import (
	"context"
	"fmt"
	"slices"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// sampleHealth asks every instance how it is, again and again, and records what changed.
func (r *Recorder) sampleHealth(ctx context.Context) {
	last, seen := map[string]string{}, map[string]View{}
	for pause(ctx, 500*time.Millisecond) {
		for _, service := range fleet.Services() {
			all, err := rpc.CallEvery[struct{}, fleet.Health](ctx, r.cfg.NATS, fleet.HealthEndpoint(service), struct{}{}, 200*time.Millisecond)
			if err != nil {
				continue // nobody answers, or the server is away
			}
			for _, h := range all {
				e := summary(h)
				if text := fmt.Sprint(*e); last[h.Instance] != text {
					last[h.Instance] = text
					r.Add(Event{Health: e})
				}
				for _, v := range views(h) {
					if of := v.Instance + " " + v.Bucket; seen[of] != v {
						seen[of] = v
						r.Add(Event{View: &v})
					}
				}
			}
		}
	}
}

func summary(h fleet.Health) *Health {
	out := &Health{Service: h.Service, Instance: h.Instance, State: h.State, Ready: h.Ready, Reasons: h.Reasons}
	out.Held = h.Lease != nil && h.Lease.Held
	for _, s := range h.Sources {
		out.Poison += s.Poison
		out.Pass += s.Pass
	}
	return out
}

// views returns what an instance has in view of the buckets that it reads.
func views(h fleet.Health) []View {
	var out []View
	for _, s := range h.Sources {
		if slices.Contains(Buckets(), s.Name) {
			out = append(out, View{Service: h.Service, Instance: h.Instance, Bucket: s.Name, Synced: s.Synced, Sequence: s.Seq, Entries: s.Entries})
		}
	}
	return out
}
