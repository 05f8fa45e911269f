package invariant

import (
	"encoding/json"
	"slices"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// history is a recording, prepared once for all checkers.
type history struct {
	events   record.Recording
	end      time.Time            // of the recording
	streams  map[string][]*stream // by bucket, by incarnation
	statuses []statusWrite        // of Deployments, as recorded
	api      lines                // the resources over time, as the apiserver had them
	losses   map[string][]time.Time
	pauses   []pause
	targets  *targets
	mirrored *lines // as the mirror had them, made when needed
	desired  map[string][]operation
	devices  []fleet.DeviceID
	rests    []*picture
}

func newHistory(events record.Recording) *history {
	h := &history{events: events, losses: map[string][]time.Time{}, targets: newTargets()}
	if n := len(events); n > 0 {
		h.end = events[n-1].At
	}
	h.streams = streamsOf(events)
	h.statuses = statusesOf(events)
	h.api = apiLines(events, h.targets)
	h.readLosses()
	h.pauses = pausesOf(events)
	return h
}

// statusWrite is a Deployment as recorded together with its decoded status.
type statusWrite struct {
	event   int
	at      time.Time
	write   *record.Write
	status  fleet.DeploymentStatus
	err     error // why the status cannot be read
	changed bool  // the write wrote the status: it is another one than before
}

// statusesOf returns every state of a Deployment that has a status.
func statusesOf(events record.Recording) []statusWrite {
	var all []statusWrite
	last := map[string]string{}
	for i, e := range events {
		w := e.Write
		if w == nil || w.Resource != fleet.KindDeployment || w.Kind == record.WriteDeleted || !hasStatus(w.Status) {
			continue
		}
		s := statusWrite{event: i, at: e.At, write: w}
		s.err = json.Unmarshal(w.Status, &s.status)
		s.changed = w.Kind != record.WriteListed && last[w.UID] != string(w.Status)
		last[w.UID] = string(w.Status)
		all = append(all, s)
	}
	return all
}

func hasStatus(raw json.RawMessage) bool {
	text := string(raw)
	return text != "" && text != "null" && text != "{}"
}

func conditionOf(s *fleet.DeploymentStatus, kind string) fleet.Condition {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return fleet.Condition{}
}

// readLosses notes when the content of a bucket may have changed without an operation that shows it: its
// stream was lost, emptied or restored, or a fault says that it loses something.
func (h *history) readLosses() {
	newest := map[string]int{}
	for _, e := range h.events {
		switch {
		case e.Stream != nil:
			b, begins := e.Stream.Bucket, false
			if n := e.Stream.Incarnation; e.Stream.Kind == record.StreamFound {
				begins = newest[b] > 0 && n > newest[b]
				newest[b] = max(newest[b], n)
			}
			if begins || e.Stream.Kind == record.StreamGone || e.Stream.Kind == record.StreamEmptied {
				h.losses[b] = append(h.losses[b], e.At)
			}
		case e.Fault != nil:
			for _, b := range e.Fault.Loses {
				h.losses[b] = append(h.losses[b], e.At)
			}
		}
	}
}

// lost reports whether a bucket may have lost something in a time.
func (h *history) lost(bucket string, from, to time.Time) bool {
	times := h.losses[bucket]
	i, _ := slices.BinarySearchFunc(times, from, time.Time.Compare)
	return i < len(times) && !times[i].After(to)
}

func fencedBuckets() []string {
	return []string{fleet.BucketDesiredState, fleet.BucketResources, fleet.BucketLeases}
}

// pause is a time in which a process was stopped. What it had decided before may reach the server after.
type pause struct {
	service  string
	from, to time.Time // to is zero while it lasts
}

func pausesOf(events record.Recording) []pause {
	var all []pause
	open := map[string]int{}
	for _, e := range events {
		p := e.Process
		if p == nil {
			continue
		}
		if i, paused := open[p.Instance]; paused && p.Kind != record.ProcessPaused {
			all[i].to = e.At
			delete(open, p.Instance)
		}
		if _, paused := open[p.Instance]; p.Kind == record.ProcessPaused && !paused {
			open[p.Instance] = len(all)
			all = append(all, pause{service: p.Service, from: e.At})
		}
	}
	return all
}

// before is the time from which on a service may have decided what it wrote at a time: slack earlier, and
// before any pause that lies in between.
func (h *history) before(service string, at time.Time, slack time.Duration) time.Time {
	from := at.Add(-slack)
	for i := range h.pauses {
		p := h.pauses[len(h.pauses)-1-i]
		if p.service == service && p.from.Before(at) && (p.to.IsZero() || p.to.After(from)) {
			from = earlier(from, p.from.Add(-slack))
		}
	}
	return from
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
