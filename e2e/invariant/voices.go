package invariant

import (
	"slices"
	"sort"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// patience is what aggregators were told of how long devices may be silent.
type patience struct{ interval, staleAfter, silenceAfter, tick time.Duration }

// patienceFlags returns the least and the greatest times of all aggregators that were started, the product's usual
// ones where no flag says otherwise.
func patienceFlags(events record.Recording) (least, most patience) {
	usual := patience{30 * time.Second, 90 * time.Second, 5 * time.Minute, time.Second}
	least, most = usual, usual
	for i, args := range startedWith(events, fleet.ServiceAggregator) {
		p := usual
		for name, d := range map[string]*time.Duration{
			"heartbeat-interval": &p.interval, "stale-after": &p.staleAfter, "silence-after": &p.silenceAfter, "tick": &p.tick,
		} {
			if told, err := time.ParseDuration(flag(args, name)); err == nil {
				*d = told
			}
		}
		if i == 0 {
			least, most = p, p
		}
		least = patience{min(least.interval, p.interval), min(least.staleAfter, p.staleAfter), min(least.silenceAfter, p.silenceAfter), min(least.tick, p.tick)}
		most = patience{max(most.interval, p.interval), max(most.staleAfter, p.staleAfter), max(most.silenceAfter, p.silenceAfter), max(most.tick, p.tick)}
	}
	return least, most
}

// moment is an event and its time.
type moment struct {
	event int
	at    time.Time
}

// voices are the times at which devices were heard of.
type voices struct {
	h           *history
	least, most patience
	beats       map[fleet.DeviceID][]operation // on the heartbeats, by stamp
	said        map[fleet.DeviceID][]time.Time // stamps of all messages of a device, sorted
	all         []time.Time                    // of all devices, sorted
	ends        []time.Time                    // of the times in which nobody spoke, sorted
	stirs       []moment                       // when something happened that is not of the devices
	stands      map[fleet.DeploymentName][]span
}

func newVoices(h *history) *voices {
	v := &voices{h: h, beats: map[fleet.DeviceID][]operation{}, said: map[fleet.DeviceID][]time.Time{}}
	v.least, v.most = patienceFlags(h.events)
	for _, bucket := range deviceBuckets() {
		for _, s := range h.streams[bucket] {
			for _, o := range s.ops {
				v.hear(bucket, o)
			}
		}
	}
	for id, times := range v.said {
		slices.SortFunc(times, time.Time.Compare)
		slices.SortStableFunc(v.beats[id], func(a, b operation) int { return a.stamp().Compare(b.stamp()) })
	}
	slices.SortFunc(v.all, time.Time.Compare)
	for i, at := range v.all {
		if i > 0 && at.Sub(v.all[i-1]) > v.least.interval*3/2-v.most.tick {
			v.ends = append(v.ends, at)
		}
	}
	v.stirs = stirsOf(h.events)
	v.stands = h.standings()
	return v
}

// hear takes in an operation on a bucket of the agents'.
func (v *voices) hear(bucket string, o operation) {
	id, _ := ownerOf(bucket, o.Key)
	if id == "" {
		return
	}
	if bucket == fleet.BucketDeviceHeartbeat {
		v.beats[id] = append(v.beats[id], o)
	}
	if o.Kind == record.OpPut {
		v.said[id] = append(v.said[id], o.stamp())
		v.all = append(v.all, o.stamp())
	}
}

// standings returns the times in which each Deployment had a key in desired-state, by device.
func (h *history) standings() map[fleet.DeploymentName][]span {
	all := map[fleet.DeploymentName][]span{}
	for key, ops := range h.desiredOps() {
		pair, err := fleet.ParseDesiredKey(key)
		if err != nil {
			continue
		}
		for i := range ops {
			if ops[i].Kind != record.OpPut {
				continue
			}
			to := h.end.Add(time.Hour)
			if i+1 < len(ops) {
				to = ops[i+1].at
			}
			all[pair.Deployment] = append(all[pair.Deployment], span{pair.Device, earlier(ops[i].stamp(), ops[i].at), to})
		}
	}
	return all
}

// heardAll reports whether no message of a device in a time was missed.
func (v *voices) heardAll(from, to time.Time) bool {
	return !slices.ContainsFunc(deviceBuckets(), func(bucket string) bool {
		return !v.h.complete(bucket, from.Add(-deliverySlack), to.Add(deliverySlack))
	})
}

// lastOf returns the last of sorted times that is not after another, zero when none is.
func lastOf(times []time.Time, at time.Time) time.Time {
	i := sort.Search(len(times), func(i int) bool { return times[i].After(at) })
	if i == 0 {
		return time.Time{}
	}
	return times[i-1]
}
