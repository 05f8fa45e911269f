package invariant

import (
	"sort"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// silenceMeansStale: a status counts those devices as stale that have been silent for so long, by the server's stamps
// (design, section 6; package staleness of the aggregator).
//
// No status, at whatever time, counts more devices as stale than may have been: pairs of the Deployment that stood in
// desired-state when the status was counted, see noFalseRunning, whose device was then without a heartbeat for
// "--stale-after" less 1.5 intervals. By so much may a view that lies behind be ahead of the last stamp in it. A
// heartbeat that was deleted, and any loss in their bucket, make a device that may have been silent.
//
// And at rest with every service ready, and as long after as nothing but devices makes anything happen, a status counts
// at least those as stale that must be: pairs in desired-state whose device has said nothing, in none of the agents'
// buckets,
//
//   - while the rest of the fleet spoke, for two times "--stale-after" before the last message of anybody: once is the
//     rule, and a second time is what an aggregator may give that was short of time, and took that for a silence;
//   - or while nobody did, for "--silence-after".
//
// That time begins anew with whatever happens to the services, their servers and resources, with a new pass or a
// trouble that an aggregator tells of, and for the first with the end of any time in which nobody in the fleet spoke
// for 1.5 intervals. It ends [statusSlack] and two ticks of the aggregator before the status is looked at.
//
// The times are those of the flags with which the aggregators were started, the loosest when they differ. What is
// left out: that a device falls stale not later than "--stale-after" says, and is fresh again at once, which a
// recording cannot tell from a status that was under way; devices without a heartbeat in view, which may never have
// been heard of; the restart of an aggregator that finds a silent fleet; fleets that are smaller than those that
// count as silent sooner.
func silenceMeansStale(h *history) []Violation {
	v := newVoices(h)
	found := v.tooMany()
	for _, p := range h.pictures() {
		short := v.tooFew(p, moment{p.event, p.at})
		if later := v.calmUntil(p); len(short) == 0 && later.at.Sub(p.at) > deliverySlack {
			short = v.tooFew(p, later)
		}
		found = append(found, short...)
	}
	return found
}

// tooMany returns the statuses that count more stale devices than may have been.
func (v *voices) tooMany() []Violation {
	var found []Violation
	for _, s := range v.h.statuses {
		if !s.changed || s.err != nil || s.status.Aggregate.Stale == 0 {
			continue
		}
		from, until := v.h.countedSince(s.at), s.at.Add(deliverySlack)
		most := v.h.unseenBy(fleet.BucketDesiredState, until)
		silent := map[fleet.DeviceID]bool{}
		for _, p := range v.stands[fleet.DeploymentName(s.write.Name)] {
			if p.from.After(until) || p.to.Before(from) || silent[p.device] || !v.mayBeSilent(p.device, from, s.at) {
				continue
			}
			silent[p.device] = true
			most++
		}
		if n := s.status.Aggregate.Stale; n > most {
			found = append(found, violation(s.event, "status of Deployment %s counts %d devices as stale, but only %d may have been silent for so long", s.write.Name, n, most))
		}
	}
	return found
}

// mayBeSilent reports whether at some moment of a time a device may have been without a heartbeat for long enough.
func (v *voices) mayBeSilent(id fleet.DeviceID, from, until time.Time) bool {
	limit := v.least.staleAfter - v.most.interval*3/2
	beats := v.beats[id]
	i := sort.Search(len(beats), func(i int) bool { return beats[i].stamp().After(from) }) - 1
	if i < 0 || v.h.lost(fleet.BucketDeviceHeartbeat, beats[i].at.Add(-lossSlack), until.Add(lossSlack)) {
		return true
	}
	for ; i < len(beats) && !beats[i].stamp().After(until); i++ {
		next := until
		if i+1 < len(beats) {
			next = earlier(beats[i+1].stamp(), until)
		}
		if beats[i].Kind != record.OpPut || next.Sub(beats[i].stamp()) > limit {
			return true
		}
	}
	return false
}

// tooFew returns the Deployments of a picture whose status at a moment counts less stale devices than there must be.
func (v *voices) tooFew(p *picture, at moment) []Violation {
	n := map[fleet.DeploymentName]int{}
	for pair := range p.desired {
		if v.mustBeStale(pair.Device, at) {
			n[pair.Deployment]++
		}
	}
	var found []Violation
	for _, name := range p.names() {
		d := p.deployments[name]
		if d.deleting || !d.carried || !d.hasStatus || d.err != nil {
			continue
		}
		if stale := v.staleAt(p, d, at); stale < n[name] {
			found = append(found, violation(at.event, "status of Deployment %s counts %d devices as stale, but %d have been silent for long", name, stale, n[name]))
		}
	}
	return found
}

// staleAt returns how many stale devices the status counts that a Deployment has at a moment, which had d's in a picture.
func (v *voices) staleAt(p *picture, d *shown, at moment) int {
	stale := d.status.Aggregate.Stale
	for _, s := range v.h.statuses {
		if s.event > p.event && s.event <= at.event && s.err == nil && s.write.Name == string(d.name) && s.write.UID == d.uid {
			stale = s.status.Aggregate.Stale
		}
	}
	return stale
}

// mustBeStale reports whether an aggregator must have found a device stale some time before a moment.
func (v *voices) mustBeStale(id fleet.DeviceID, at moment) bool {
	beats := v.beats[id]
	n := sort.Search(len(beats), func(i int) bool { return beats[i].stamp().After(at.at) })
	if n == 0 || beats[n-1].Kind != record.OpPut || v.h.lost(fleet.BucketDeviceHeartbeat, beats[n-1].at.Add(-writeSlack), at.at) {
		return false
	}
	stirred := v.stirred(at)
	seen := later(lastOf(v.said[id], at.at), stirred)
	if !v.heardAll(seen, at.at) {
		return false
	}
	until := at.at.Add(-statusSlack - 2*v.most.tick)
	alone := lastOf(v.all, until).Sub(later(seen, lastOf(v.ends, at.at)))
	together := until.Sub(later(lastOf(v.all, at.at), stirred))
	return alone > 2*v.most.staleAfter || together > v.most.silenceAfter
}

// stirred returns when something happened last before a moment that is not of the devices.
func (v *voices) stirred(at moment) time.Time {
	i := sort.Search(len(v.stirs), func(i int) bool { return v.stirs[i].event >= at.event })
	if i == 0 {
		return v.h.events[0].At
	}
	return v.stirs[i-1].at
}

// calmUntil returns the moment after a rest at which something happens again that is not of the devices.
func (v *voices) calmUntil(p *picture) moment {
	i := sort.Search(len(v.stirs), func(i int) bool { return v.stirs[i].event > p.event })
	if i == len(v.stirs) {
		return moment{len(v.h.events) - 1, v.h.end}
	}
	return v.stirs[i]
}
