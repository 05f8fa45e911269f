package picture

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"harmony.dev/fleet"
)

// Part is what one question was last answered.
type Part[T any] struct {
	Value    T
	Fresh    fleet.Freshness // as the answer had it; AsOf is the clock of who answered
	Got      time.Time       // when the answer came, zero when there was none yet
	Err      string          // why the last question was not answered, "" while it was
	ErrSince time.Time
}

// Old reports whether the value is of an earlier question than the last one.
func (p Part[T]) Old() bool { return p.Err != "" }

// Answer is what came back to one question: a value, or an error.
type Answer[T any] struct {
	Value T
	Fresh fleet.Freshness
	Err   error
}

// Take returns the part after a question that was answered, or not (nil: it was not asked).
func (p Part[T]) Take(a *Answer[T], now time.Time) Part[T] {
	switch {
	case a == nil: // it was not asked
	case a.Err == nil:
		return Part[T]{Value: a.Value, Fresh: a.Fresh, Got: now}
	case p.Err == "":
		p.Err, p.ErrSince = a.Err.Error(), now
	default:
		p.Err = a.Err.Error()
	}
	return p
}

// Link is the own connection to NATS.
type Link struct {
	Connected bool
	Since     time.Time // of the present state
	Server    string    // its URL without user and password
}

// Replica is one instance of a service, as it last spoke of itself.
type Replica struct {
	fleet.Health
	Got    time.Time
	Missed int // questions since then that it did not answer
}

// Silent reports whether it has not answered for so long that it counts as gone.
func (r Replica) Silent() bool { return r.Missed >= maxMissed }

// Acts reports whether it holds the lease of its service.
func (r Replica) Acts() bool { return !r.Silent() && (r.Lease == nil || r.Lease.Held) }

// Service is a service and its replicas, sorted by instance.
type Service struct {
	Name     string
	Replicas []Replica
	Missed   int       // rounds since anybody answered
	Heard    time.Time // when anybody last answered, zero for never
	Err      string    // what was said in place of an answer
}

// Silent reports whether no replica answers.
func (s Service) Silent() bool { return s.Missed >= maxMissed }

// Incident is something that was over before anybody could be asked about it.
type Incident struct {
	At   time.Time
	Text string
}

// Picture is what is known.
type Picture struct {
	At          time.Time // of the last one in which anybody was asked
	Link        Link
	Services    []Service // in the order of fleet.Services
	Deployments Part[[]fleet.DeploymentView]
	Devices     Part[[]fleet.DeviceSummary]
	Incidents   []Incident // of late
}

const (
	// maxMissed is how many questions in a row must be unanswered until who was asked counts as silent: one answer may
	// get lost in a reconnect.
	maxMissed = 2
	// forgetAfter is how long a replica that has fallen silent is shown.
	forgetAfter = time.Minute
	// recently is how long an incident is told.
	recently = 10 * time.Second
)

// Round is what came back to a round of questions. What is nil was not asked.
type Round struct {
	Link        Link
	Health      map[string]Answer[[]fleet.Health] // by service
	Deployments *Answer[[]fleet.DeploymentView]
	Devices     *Answer[[]fleet.DeviceSummary]
}

// Fold returns the picture after a round that ended now. It shares no memory that changes with p.
func Fold(p Picture, r Round, now time.Time) Picture {
	out := Picture{At: p.At, Link: r.Link}
	if r.Health != nil || r.Deployments != nil || r.Devices != nil {
		out.At = now
	}
	for _, name := range fleet.Services() {
		was := p.service(name)
		is := was
		if a, ok := r.Health[name]; ok {
			is = was.take(a, now)
			out.Incidents = append(out.Incidents, incidents(was, is, now)...)
		}
		out.Services = append(out.Services, is)
	}
	for _, e := range p.Incidents {
		if now.Sub(e.At) < recently {
			out.Incidents = append(out.Incidents, e)
		}
	}
	out.Deployments = p.Deployments.Take(r.Deployments, now)
	out.Devices = p.Devices.Take(r.Devices, now)
	return out
}

// Revived reports whether NATS is connected again, or a service answers again that did not.
func Revived(was, is Picture) bool {
	if is.Link.Connected && !was.Link.Connected && !was.Link.Since.IsZero() {
		return true
	}
	return slices.ContainsFunc(is.Services, func(s Service) bool { return s.Missed == 0 && was.service(s.Name).Missed > 0 })
}

func (p Picture) service(name string) Service {
	for _, s := range p.Services {
		if s.Name == name {
			return s
		}
	}
	return Service{Name: name}
}

// take returns the service after its replicas were asked.
func (s Service) take(a Answer[[]fleet.Health], now time.Time) Service {
	out := Service{Name: s.Name, Heard: s.Heard, Missed: s.Missed + 1}
	if a.Err != nil {
		out.Err = a.Err.Error()
	}
	if len(a.Value) > 0 {
		out.Missed, out.Heard = 0, now
	}
	answered := map[string]bool{}
	for _, h := range a.Value {
		answered[h.Instance] = true
		out.Replicas = append(out.Replicas, Replica{Health: h, Got: now})
	}
	for _, r := range s.Replicas {
		if answered[r.Instance] {
			continue
		}
		r.Missed++
		if !r.Silent() || now.Sub(r.Got) < forgetAfter && !r.stopping() {
			out.Replicas = append(out.Replicas, r)
		}
	}
	slices.SortFunc(out.Replicas, func(a, b Replica) int { return cmp.Compare(a.Instance, b.Instance) })
	return out
}

// stopping reports whether its last word was that it ends as it was told to.
func (r Replica) stopping() bool {
	return slices.ContainsFunc(r.Reasons, func(x fleet.Reason) bool { return x.Reason == reasonStopping })
}

// incidents returns what has happened to the replicas since they last spoke. One that was started again has a new story.
func incidents(was, is Service, now time.Time) []Incident {
	var out []Incident
	for _, r := range is.Replicas {
		i := slices.IndexFunc(was.Replicas, func(o Replica) bool { return o.Instance == r.Instance && o.StartedAt.Equal(r.StartedAt) })
		if i < 0 {
			continue
		}
		before := was.Replicas[i]
		for _, s := range r.Sources {
			if o, ok := before.source(s.Name); ok && o.Pass > 0 && s.Pass > o.Pass {
				out = append(out, Incident{now, fmt.Sprintf("%s was lost or reset, and %s (%s) has begun to read it anew", s.Name, r.Service, r.Instance)})
			}
		}
		if o := before.Lease; o != nil && r.Lease != nil && o.Epoch != 0 && r.Lease.Epoch != 0 && o.Epoch != r.Lease.Epoch {
			out = append(out, Incident{now, fmt.Sprintf("%s (%s) has taken a new epoch: its lease was lost, or the outcome of a write unknown", r.Service, r.Instance)})
		}
	}
	return out
}

func (r Replica) source(name string) (fleet.Source, bool) {
	for _, s := range r.Sources {
		if s.Name == name {
			return s, true
		}
	}
	return fleet.Source{}, false
}
