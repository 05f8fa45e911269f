package invariant

import (
	"slices"
	"sort"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

const (
	// deliverySlack is by how much two sources of the recording may differ.
	deliverySlack = 2 * time.Second
	// statusSlack is how old the view may be that a status was counted in: the patcher gives a write to the
	// apiserver 10 s.
	statusSlack = 10*time.Second + deliverySlack
)

// noFalseRunning: in every recorded status, not only at rest, running with staleLastKnown.running is at most the
// number of devices that had by then put a report Running for the Deployment with the hash of a value, of the
// Deployment's uid, that stood for that pair in desired-state when the status was counted. A report about what was
// wanted before an edit is no success. (Design, section 3: no false success, no old failure.)
//
// A status was counted at any moment within [statusSlack] before it, or before that when a patcher or aggregator was
// stopped meanwhile; but not before desired-state had an "_applied" of the generation that it observes, which
// stands in the stream behind all values of that generation.
//
// A value stands until the next message of its key, whatever becomes of the bucket. A report counts from the
// server's stamp on it, [deliverySlack] early, and for ever. Each message of device-state that was not seen may have
// been such a report, and each of desired-state may have put a value that a report is about.
func noFalseRunning(h *history) []Violation {
	claims := h.claims()
	counts := map[view]*count{}
	var found []Violation
	for _, s := range h.statuses {
		if !s.changed || s.err != nil {
			continue
		}
		a := s.status.Aggregate
		says := a.Running + a.StaleLastKnown.Running
		if says == 0 {
			continue
		}
		of := claim{fleet.DeploymentName(s.write.Name), s.write.UID}
		key := view{of, s.status.ObservedGeneration}
		if counts[key] == nil {
			counts[key] = claims.count(of, h.appliedSince(of, key.generation))
		}
		until := s.at.Add(deliverySlack)
		standing := counts[key].during(h.countedSince(s.at), until)
		others := claims.said(of, until) + claims.said(claim{of.deployment, ""}, until) - standing
		most := standing + h.unseenBy(fleet.BucketDeviceState, until) + min(max(others, 0), h.unseenBy(fleet.BucketDesiredState, until))
		if says > most {
			found = append(found, violation(s.event, "status of Deployment %s counts %d devices as running, but only %d have said so of what they are to run", s.write.Name, says, most))
		}
	}
	return found
}

// countedSince is the time from which on a status may have been counted that was recorded at a time.
func (h *history) countedSince(at time.Time) time.Time {
	return earlier(h.before(fleet.ServiceAggregator, at, statusSlack), h.before(fleet.ServicePatcher, at, statusSlack))
}

// appliedSince returns when desired-state first had a generation of a Deployment, or a later one, as applied; zero
// when that is not known.
func (h *history) appliedSince(of claim, generation int64) time.Time {
	before := operation{Op: &record.Op{}}
	for _, o := range h.desiredOps()[fleet.AppliedKey(of.deployment)] {
		if o.applies(of.uid, generation) {
			if o.unseen > 0 && (o.Incarnation != before.Incarnation || o.unseen != before.unseen) {
				return before.at // an earlier record of it may not have been seen
			}
			return o.at
		}
		before = o
	}
	return time.Time{}
}

// view is what the statuses have in common that count the same values.
type view struct {
	claim
	generation int64
}

type claim struct {
	deployment fleet.DeploymentName
	uid        string // "": of a value that was never seen
}

// span is a time in which a value stood for a pair whose device had said that it runs it.
type span struct {
	device   fleet.DeviceID
	from, to time.Time
}

// claims are what devices said that they run.
type claims struct {
	first map[claim][]time.Time // when each device first said so, sorted
	spans map[claim][]span
}

// said returns how many devices had said so by a time, whether it was wanted then or not.
func (c *claims) said(key claim, until time.Time) int {
	return sort.Search(len(c.first[key]), func(i int) bool { return c.first[key][i].After(until) })
}

// claims reads all reports.
func (h *history) claims() *claims {
	first := h.firstReports()
	c := &claims{first: map[claim][]time.Time{}, spans: map[claim][]span{}}
	stood := map[hashed]string{}
	h.eachStanding(func(v hashed, uid string, from, to time.Time) {
		stood[v] = uid
		said, is := first[v]
		if !is || said.After(to.Add(2*deliverySlack)) {
			return
		}
		key := claim{v.pair.Deployment, uid}
		from = later(from, said)
		c.spans[key] = append(c.spans[key], span{v.pair.Device, from, later(from, to)})
	})
	type who struct {
		claim
		device fleet.DeviceID
	}
	each := map[who]time.Time{}
	for v, at := range first {
		key := who{claim{v.pair.Deployment, stood[v]}, v.pair.Device}
		if known, again := each[key]; !again || at.Before(known) {
			each[key] = at
		}
	}
	for key, at := range each {
		c.first[key.claim] = append(c.first[key.claim], at)
	}
	for _, times := range c.first {
		slices.SortFunc(times, time.Time.Compare)
	}
	return c
}

// hashed is a value of a pair.
type hashed struct {
	pair fleet.Pair
	hash string
}

// firstReports returns when each pair was first reported as running a value.
func (h *history) firstReports() map[hashed]time.Time {
	first := map[hashed]time.Time{}
	for _, s := range h.streams[fleet.BucketDeviceState] {
		for i := range s.ops {
			o := &s.ops[i]
			p, err := fleet.ParseStateKey(o.Key)
			if err != nil || o.Kind != record.OpPut {
				continue
			}
			r, err := fleet.DecodeReport([]byte(o.Value))
			if err != nil || r.Phase != fleet.PhaseRunning {
				continue
			}
			key := hashed{p, r.ObservedHash}
			if at, again := first[key]; !again || o.stamp().Before(at) {
				first[key] = o.stamp()
			}
		}
	}
	return first
}

// eachStanding calls do with each value of a pair in desired-state, the uid in it, and the time in which it stood.
func (h *history) eachStanding(do func(v hashed, uid string, from, to time.Time)) {
	type wish struct{ uid, hash string }
	known := map[string]wish{}
	for key, ops := range h.desiredOps() {
		pair, err := fleet.ParseDesiredKey(key)
		if err != nil {
			continue
		}
		for i := range ops {
			o := &ops[i]
			if o.Kind != record.OpPut {
				continue
			}
			w, ok := known[o.Value]
			if !ok {
				if d, err := fleet.DecodeDesired([]byte(o.Value)); err == nil {
					w = wish{d.UID, fleet.Hash([]byte(o.Value))}
				}
				known[o.Value] = w
			}
			to := h.end.Add(time.Hour)
			if i+1 < len(ops) {
				to = ops[i+1].at
			}
			if w.uid != "" {
				do(hashed{pair, w.hash}, w.uid, earlier(o.stamp(), o.at), to)
			}
		}
	}
}

// count counts the devices with a span in a time that only moves forward.
type count struct {
	since         time.Time
	opens, closes []span // not yet reached, sorted by beginning and by end
	open          map[fleet.DeviceID]int
}

// count returns the count of a claim of which nothing counts that ended before a time.
func (c *claims) count(of claim, since time.Time) *count {
	opens, closes := slices.Clone(c.spans[of]), slices.Clone(c.spans[of])
	slices.SortFunc(opens, func(a, b span) int { return a.from.Compare(b.from) })
	slices.SortFunc(closes, func(a, b span) int { return a.to.Compare(b.to) })
	return &count{since: since, opens: opens, closes: closes, open: map[fleet.DeviceID]int{}}
}

// during returns how many devices have a span that touches a time.
func (c *count) during(from, until time.Time) int {
	for ; len(c.opens) > 0 && !c.opens[0].from.After(until); c.opens = c.opens[1:] {
		c.open[c.opens[0].device]++
	}
	// A span that ends sooner has begun sooner, so it is open.
	for from = earlier(later(from, c.since), until); len(c.closes) > 0 && c.closes[0].to.Before(from); c.closes = c.closes[1:] {
		device := c.closes[0].device
		if c.open[device]--; c.open[device] == 0 {
			delete(c.open, device)
		}
	}
	return len(c.open)
}
