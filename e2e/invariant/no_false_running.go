package invariant

import (
	"slices"
	"sort"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// noFalseRunning: in every recorded status, not only at rest, running with staleLastKnown.running is at most the
// number of devices that had by then put a report Running for the Deployment with the hash of a value that was
// ever desired of that pair under the Deployment's uid. (Design, section 3: no false success.)
//
// A report counts from the server's stamp on it, [deliverySlack] early. Each message of device-state that was not
// seen may have been such a report, and each of desired-state the value that a report of an unknown hash is about.
func noFalseRunning(h *history) []Violation {
	claims := h.claims()
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
		until := s.at.Add(deliverySlack)
		name := fleet.DeploymentName(s.write.Name)
		most := claims.count(claim{name, s.write.UID}, until) + h.unseenBy(fleet.BucketDeviceState, until) +
			min(claims.count(claim{name, ""}, until), h.unseenBy(fleet.BucketDesiredState, until))
		if says > most {
			found = append(found, violation(s.event, "status of Deployment %s counts %d devices as running, but only %d have ever said so", s.write.Name, says, most))
		}
	}
	return found
}

// deliverySlack is by how much two sources of the recording may differ.
const deliverySlack = 2 * time.Second

// claims are the times at which devices first said that they run something, by what it is, sorted.
type claims map[claim][]time.Time

type claim struct {
	deployment fleet.DeploymentName
	uid        string // "": of a value that was never seen
}

// count returns how many devices had said so by a time.
func (c claims) count(key claim, until time.Time) int {
	return sort.Search(len(c[key]), func(i int) bool { return c[key][i].After(until) })
}

// claims reads all reports.
func (h *history) claims() claims {
	wanted := h.everDesired()
	type pair struct {
		fleet.Pair
		uid string
	}
	first := map[pair]time.Time{}
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
			key := pair{p, wanted[hashed{p, r.ObservedHash}]}
			if at, again := first[key]; !again || o.stamp().Before(at) {
				first[key] = o.stamp()
			}
		}
	}
	all := claims{}
	for p, at := range first {
		key := claim{p.Deployment, p.uid}
		all[key] = append(all[key], at)
	}
	for _, times := range all {
		slices.SortFunc(times, time.Time.Compare)
	}
	return all
}

// hashed is a value that was desired of a pair.
type hashed struct {
	pair fleet.Pair
	hash string
}

// everDesired returns the uid in every value that ever stood in desired-state.
func (h *history) everDesired() map[hashed]string {
	type wish struct{ uid, hash string }
	known := map[string]wish{}
	all := map[hashed]string{}
	for _, s := range h.streams[fleet.BucketDesiredState] {
		for i := range s.ops {
			o := &s.ops[i]
			pair, err := fleet.ParseDesiredKey(o.Key)
			if err != nil || o.Kind != record.OpPut {
				continue
			}
			w, ok := known[o.Value]
			if !ok {
				if d, err := fleet.DecodeDesired([]byte(o.Value)); err == nil {
					w = wish{d.UID, fleet.Hash([]byte(o.Value))}
				}
				known[o.Value] = w
			}
			if w.uid != "" {
				all[hashed{pair, w.hash}] = w.uid
			}
		}
	}
	return all
}
