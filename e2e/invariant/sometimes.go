package invariant

import (
	"strings"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// The paths that a full run of the scenarios must reach.
const (
	PathRebuild  = "rebuild"       // a stream began anew, or an instance that was ready read a source again
	PathRefused  = "fence-refused" // a scenario saw the server refuse a fenced write, see record.Seen
	PathTakeover = "takeover"      // another instance than before took an epoch
	PathBrake    = "brake"         // deletes were held
	PathStale    = "stale"         // a status counted stale devices
	PathPoison   = "poison"        // an instance set an entry aside
	PathDegraded = "degraded"      // an instance was degraded
	PathGarbage  = "garbage"       // the key of a device was deleted
)

// Sometimes counts how often a recording reached each path. A path that it did not reach is in it with 0.
func Sometimes(r record.Recording) map[string]int {
	s := sometimes{
		n:      map[string]int{PathRebuild: 0, PathRefused: 0, PathTakeover: 0, PathBrake: 0, PathStale: 0, PathPoison: 0, PathDegraded: 0, PathGarbage: 0},
		health: map[string]record.Health{}, wasReady: map[string]bool{}, holders: map[string]string{},
	}
	for _, e := range r {
		s.apply(e)
	}
	for _, w := range statusesOf(r) {
		if w.changed && w.err == nil && w.status.Aggregate.Stale > 0 {
			s.n[PathStale]++
		}
	}
	return s.n
}

type sometimes struct {
	n        map[string]int
	health   map[string]record.Health // the last of each instance
	wasReady map[string]bool
	holders  map[string]string // by bucket
}

func (s *sometimes) apply(e record.Event) {
	switch {
	case e.Stream != nil:
		if e.Stream.Kind == record.StreamFound && e.Stream.Incarnation > 1 {
			s.n[PathRebuild]++
		}
	case e.Process != nil:
		if e.Process.Kind == record.ProcessStarted {
			delete(s.health, e.Process.Instance)
			delete(s.wasReady, e.Process.Instance)
		}
	case e.Seen != nil:
		s.n[e.Seen.Path]++
	case e.Op != nil:
		s.operation(e.Op)
	case e.Health != nil:
		s.said(*e.Health)
	}
}

func (s *sometimes) operation(o *record.Op) {
	switch {
	case o.Kind == record.OpPut && o.Bucket == fleet.BucketDesiredState && o.Key == fleet.KeyHold && o.Epoch != 0:
		s.n[PathBrake]++
	case o.Kind == record.OpPut && o.Key == fleet.KeyEpoch:
		epoch, err := fleet.DecodeEpoch([]byte(o.Value))
		if err != nil {
			return
		}
		if before := s.holders[o.Bucket]; before != "" && before != epoch.Instance {
			s.n[PathTakeover]++
		}
		s.holders[o.Bucket] = epoch.Instance
	case o.Kind == record.OpDelete && strings.HasPrefix(o.Bucket, "device-"):
		s.n[PathGarbage]++
	}
}

func (s *sometimes) said(h record.Health) {
	before := s.health[h.Instance]
	if s.wasReady[h.Instance] && h.Pass > before.Pass {
		s.n[PathRebuild]++
	}
	if h.Poison > before.Poison {
		s.n[PathPoison]++
	}
	if h.State == fleet.StateDegraded && before.State != fleet.StateDegraded {
		s.n[PathDegraded]++
	}
	s.health[h.Instance] = h
	s.wasReady[h.Instance] = s.wasReady[h.Instance] || h.Ready
}
