package invariant

import (
	"slices"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// noFalseRunning: in every recorded status, not only at rest, running with staleLastKnown.running is at most the
// number of devices that had by then put a report Running for the Deployment with the hash of a value that was
// ever desired of that pair under the Deployment's uid. (Design, section 3: no false success.)
//
// A report counts from the server's stamp on it, [deliverySlack] early. A message of device-state that was not
// seen may have been such a report; where messages of desired-state were not seen, any hash may have been wanted.
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
		most := claims.count(fleet.DeploymentName(s.write.Name), s.write.UID, until) + h.unseenReports(until)
		if says > most {
			found = append(found, violation(s.event, "status of Deployment %s counts %d devices as running, but only %d have ever said so", s.write.Name, says, most))
		}
	}
	return found
}

// deliverySlack is by how much two sources of the recording may differ.
const deliverySlack = 2 * time.Second

// claims are the times at which devices first said rightly that they run something, by Deployment, sorted.
type claims map[claim][]time.Time

type claim struct {
	deployment fleet.DeploymentName
	uid        string // "": it is not known which values were desired
}

func (c claims) count(name fleet.DeploymentName, uid string, until time.Time) int {
	n := 0
	for _, key := range []claim{{name, uid}, {name, ""}} {
		i, _ := slices.BinarySearchFunc(c[key], until, func(t, until time.Time) int {
			if t.After(until) {
				return 1
			}
			return -1
		})
		n += i
	}
	return n
}

// claims reads all reports.
func (h *history) claims() claims {
	wanted, complete := h.everDesired(), h.complete(fleet.BucketDesiredState, h.end)
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
			uid, known := wanted[hashed{p, r.ObservedHash}]
			if !known && complete {
				continue
			}
			key := pair{p, uid}
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

// unseenReports returns how many messages of device-state were not seen up to a time.
func (h *history) unseenReports(until time.Time) int {
	n := 0
	for _, s := range h.streams[fleet.BucketDeviceState] {
		i := min(seenBy(s.ops, until), len(s.ops)-1)
		n += int(min(s.ops[i].unseen, 1<<30))
	}
	return n
}
