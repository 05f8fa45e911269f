package invariant

import (
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

const (
	// perReflector is how many consumers a reflector may have: the one that it reads from, and one that it could
	// not delete when it lost its connection. It deletes that before it makes another.
	perReflector = 2
	// foreignConsumers is room for those of the scenario itself, which reads buckets too.
	foreignConsumers = 4
	// lingering is how long the consumers of a process may outlive it: the server drops a consumer that nobody
	// pulls from after 30 s (inactiveThreshold of package kv), counted anew by a new leader.
	lingering = 60 * time.Second
)

// reflectors returns how many reflectors an instance of a service has on a bucket: one on each that it reads.
// The lease bucket is read by nobody, and agents have no consumers.
func reflectors(service, bucket string) int {
	switch service {
	case fleet.ServicePatcher:
		if bucket == fleet.BucketResources {
			return 1
		}
	case fleet.ServiceReconciler:
		if bucket == fleet.BucketResources || bucket == fleet.BucketDesiredState {
			return 1
		}
	case fleet.ServiceAggregator:
		if bucket != fleet.BucketLeases {
			return 1
		}
	}
	return 0
}

// boundedCost: at any time a bucket's stream has at most [perReflector] consumers for each reflector of the
// instances that run, or ended less than [lingering] ago, and [foreignConsumers] more: however often anything
// reconnected. (Design, section 4: consumers are always deleted or time out.)
//
// Nothing is said of a recording that knows of no process.
func boundedCost(h *history) []Violation {
	var found []Violation
	var all processes
	for i, e := range h.events {
		if e.Process != nil {
			all.apply(e.Process, e.At)
		}
		s := e.Stream
		if s == nil || s.Kind != record.StreamConsumers || len(all) == 0 {
			continue
		}
		if most := perReflector*all.reflectors(s.Bucket, e.At) + foreignConsumers; s.Consumers > most {
			found = append(found, violation(i, "%s has %d consumers, at most %d are accounted for", s.Bucket, s.Consumers, most))
		}
	}
	return found
}

// processes are all that were started.
type processes []process

type process struct {
	service, instance string
	ended             time.Time // zero while it runs
}

func (all *processes) apply(p *record.Process, at time.Time) {
	switch p.Kind {
	case record.ProcessStarted:
		*all = append(*all, process{service: p.Service, instance: p.Instance})
	case record.ProcessExited:
		for i := range *all {
			if q := &(*all)[i]; q.instance == p.Instance && q.ended.IsZero() {
				q.ended = at
			}
		}
	case record.ProcessStopping, record.ProcessKilled, record.ProcessPaused, record.ProcessContinued:
	}
}

func (all processes) reflectors(bucket string, at time.Time) int {
	n := 0
	for _, p := range all {
		if p.ended.IsZero() || at.Sub(p.ended) < lingering {
			n += reflectors(p.service, bucket)
		}
	}
	return n
}
