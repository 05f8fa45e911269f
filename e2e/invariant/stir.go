package invariant

import (
	"slices"
	"strings"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// stirsOf returns when something happened that is not of the devices: to a process that is no device, to a stream, a key
// of desired-state, or a resource, beside its status; a fault that is not of devices alone; and what an aggregator
// tells of a new pass, or of trouble other than the silence of the fleet.
func stirsOf(events record.Recording) []moment {
	var all []moment
	s := stirring{services: map[string]string{}, passes: map[string]uint64{}, resources: map[string]*record.Write{}}
	for i, e := range events {
		if s.stirs(e) {
			all = append(all, moment{i, e.At})
		}
	}
	return all
}

// stirring follows what happens.
type stirring struct {
	services  map[string]string // of instances, by id
	passes    map[string]uint64
	resources map[string]*record.Write
}

func (s *stirring) stirs(e record.Event) bool {
	switch {
	case e.Process != nil:
		s.services[e.Process.Instance] = e.Process.Service
		return !isDevices(e.Process.Service)
	case e.Fault != nil:
		return !s.isOfDevices(e.Fault)
	case e.Stream != nil:
		return e.Stream.Kind != record.StreamConsumers
	case e.Op != nil:
		return e.Op.Bucket == fleet.BucketDesiredState && !fleet.IsReserved(e.Op.Key)
	case e.Health != nil:
		return e.Health.Service == fleet.ServiceAggregator && s.isTroubled(e.Health)
	case e.Write != nil:
		key := lineOf(e.Write.Resource, e.Write.Name)
		before := s.resources[key]
		s.resources[key] = e.Write
		return before == nil || !onlyStatus(before, e.Write)
	}
	return false
}

// isDevices reports whether a process plays devices.
func isDevices(service string) bool { return service == "fleet-sim" }

// isOfDevices reports whether a fault keeps processes from NATS of which each plays devices.
func (s *stirring) isOfDevices(f *record.Fault) bool {
	if f.Name != "nats-refused" {
		return false
	}
	for target := range strings.SplitSeq(f.Target, ", ") {
		if id, _, _ := strings.Cut(target, " "); !isDevices(s.services[id]) {
			return false
		}
	}
	return true
}

func (s *stirring) isTroubled(health *record.Health) bool {
	again := health.Pass != s.passes[health.Instance]
	s.passes[health.Instance] = health.Pass
	return again || !health.Ready || slices.ContainsFunc(health.Reasons, func(r fleet.Reason) bool {
		return r.Reason != fleet.ReasonHeartbeatsSilent
	})
}
