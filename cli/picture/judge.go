package picture

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"harmony.dev/fleet"
)

// State is what a banner says in one word.
type State string

// The states, the gravest first.
const (
	Unhealthy  State = "unhealthy"
	Held       State = "held"
	Degraded   State = "degraded"
	Converging State = "converging"
	Unknown    State = "unknown"
	Well       State = "well"
)

func gravity(s State) int {
	return slices.Index([]State{Unhealthy, Held, Degraded, Converging, Unknown, Well}, s)
}

// Problem is one thing that keeps the banner from saying that all is well.
type Problem struct {
	State State
	Text  string
	Next  string // what to do, "" when there is nothing but to wait
	More  *Page  // what tells more, nil for nothing
}

// Page is a page of the dashboard, and the words of a link to it.
type Page struct{ Path, Text string }

// Progress is how far something is that will end by itself.
type Progress struct{ Done, Total int }

// Banner is the picture in one sentence.
type Banner struct {
	State    State
	Sentence string
	Problems []Problem // the gravest first
	Progress *Progress // of what converges, nil when it cannot be counted
}

// reasonStopping is the reason of a replica that ends as it was told to.
const reasonStopping = "Stopping"

// Judge returns the banner of a picture.
func Judge(p Picture) Banner {
	ps := problems(p)
	slices.SortStableFunc(ps, func(a, b Problem) int { return gravity(a.State) - gravity(b.State) })
	if len(ps) == 0 {
		return Banner{State: Well, Sentence: wellSentence(p)}
	}
	b := Banner{State: ps[0].State, Sentence: ps[0].Text, Problems: ps}
	if b.State == Converging {
		b.Progress = progress(p)
	}
	return b
}

func wellSentence(p Picture) string {
	text := fmt.Sprintf("All is well: %s, %s", count(len(p.Deployments.Value), "deployment"), count(len(p.Devices.Value), "device"))
	if n := stale(p.Devices.Value); n > 0 {
		text += fmt.Sprintf(", %d of them stale", n)
	}
	return text
}

func stale(devices []fleet.DeviceSummary) (n int) {
	for _, d := range devices {
		if d.State == fleet.DeviceStale {
			n++
		}
	}
	return n
}

// From manyStale devices on, more than a fifth of all being stale is told: a site is away, or a network.
const manyStale = 5

// deviceProblems says what is wrong with the devices, or with what is known of them.
func deviceProblems(p Picture) []Problem {
	part := p.Devices
	n, all := stale(part.Value), len(part.Value)
	switch {
	case part.Err != "" && p.service(fleet.ServiceAggregator).Missed > 0:
		return nil // that is told, and the rest is old
	case part.Err != "":
		return []Problem{{State: Degraded, Text: fmt.Sprintf("Questions about devices are not answered since %s: %s", clock(part.ErrSince), part.Err)}}
	case part.Got.IsZero():
		return []Problem{{State: Unknown, Text: "Asking for devices …"}}
	case n >= manyStale && 5*n > all:
		return []Problem{{State: Degraded, Text: fmt.Sprintf("%d of %d devices are stale: they have been silent for too long", n, all), More: &Page{"/devices?class=stale", "list them"}}}
	}
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// problems lists what is wrong. Without NATS nothing else can be told.
func problems(p Picture) []Problem {
	if !p.Link.Connected {
		return []Problem{{
			State: Unhealthy,
			Text:  fmt.Sprintf("No connection to NATS since %s: what is shown is from before", clock(p.Link.Since)),
			Next:  "check the server and the network; the devices go on running what they run",
		}}
	}
	var out []Problem
	for _, s := range p.Services {
		out = append(out, serviceProblems(s)...)
	}
	out = append(out, versionProblem(p.Services)...)
	for _, x := range p.Incidents {
		out = append(out, Problem{State: Converging, Text: clock(x.At) + ": " + x.Text})
	}
	return append(append(out, fleetProblems(p)...), deviceProblems(p)...)
}

func serviceProblems(s Service) []Problem {
	switch {
	case s.Heard.IsZero() && s.Missed < maxMissed:
		return []Problem{{State: Unknown, Text: "Asking " + s.Name + " …"}}
	case s.Silent():
		return []Problem{silence(s)}
	}
	var out []Problem
	acts := false
	for _, r := range s.Replicas {
		if r.Silent() {
			out = append(out, Problem{State: Degraded, Text: fmt.Sprintf("%s (%s) does not answer since %s", s.Name, r.Instance, clock(r.Got)), Next: "another replica does; look at this one's log"})
			continue
		}
		acts = acts || r.Acts()
		out = append(out, replicaProblems(r, len(s.Replicas) == 1)...)
	}
	if !acts && s.Missed == 0 {
		out = append(out, Problem{State: Degraded, Text: "Nobody acts for " + s.Name + ": no replica holds the lease", Next: "a replica takes it within the lease's time, 10 s by default"})
	}
	return out
}

func silence(s Service) Problem {
	text := s.Name + " does not answer"
	if !s.Heard.IsZero() {
		text += " since " + clock(s.Heard)
	}
	return Problem{State: Unhealthy, Text: text, Next: "is it running, and connected to the same NATS account? " + consequence(s.Name)}
}

// consequence says what does not happen while a service is away.
func consequence(service string) string {
	switch service {
	case fleet.ServicePatcher:
		return "Until then no change in Kubernetes reaches the fleet, and no status reaches Kubernetes."
	case fleet.ServiceReconciler:
		return "Until then nothing new is rolled out."
	}
	return "Until then no status is counted."
}

// replicaProblems reads the reasons of one replica. Those of the one that acts are graver than those of a standby.
func replicaProblems(r Replica, only bool) []Problem {
	lost := Degraded
	if only || r.Acts() {
		lost = Unhealthy
	}
	var out []Problem
	said := map[string]bool{}
	for _, x := range r.Reasons {
		p := Problem{State: Converging, Text: fmt.Sprintf("%s (%s): %s", r.Service, r.Instance, x.Message)}
		switch {
		case x.Reason == fleet.ReasonHeld:
			p.Text, _, _ = strings.Cut(x.Message, ": look at it") // the page has a link in the place of commands
			p.State, p.Next, p.More = Held, "restore what is gone, or approve", &Page{"/hold", "look at what is held"}
		case x.Reason == fleet.ReasonSetAside:
			p.State, p.Next, p.More = Degraded, "what to do: fleet doctor", &Page{"/operator", "look at the entries"}
		case x.Reason != reasonStopping && r.State == fleet.StateDegraded:
			p.State = lost
		}
		if !said[x.Message] {
			out = append(out, p)
		}
		said[x.Message] = true
	}
	if len(out) == 0 && r.State != fleet.StateReady {
		out = append(out, Problem{State: Converging, Text: fmt.Sprintf("%s (%s) is %s", r.Service, r.Instance, r.State)})
	}
	return out
}

func versionProblem(services []Service) []Problem {
	var versions []string
	for _, s := range services {
		for _, r := range s.Replicas {
			if !r.Silent() && !slices.Contains(versions, r.Version) {
				versions = append(versions, r.Version)
			}
		}
	}
	if len(versions) < 2 {
		return nil
	}
	slices.Sort(versions)
	return []Problem{{State: Converging, Text: "Versions differ: " + strings.Join(versions, ", "), Next: "an update is under way; if not, finish it"}}
}

// fleetProblems says what the Deployments lack.
func fleetProblems(p Picture) []Problem {
	part := p.Deployments
	aggregator := p.service(fleet.ServiceAggregator)
	switch {
	case part.Err != "" && aggregator.Silent():
		return nil // that is told, and the rest is old
	case part.Err != "" && aggregator.Missed > 0:
		return []Problem{silence(aggregator)}
	case part.Err != "":
		return []Problem{{State: Unhealthy, Text: fmt.Sprintf("Questions about Deployments are not answered since %s: %s", clock(part.ErrSince), part.Err)}}
	case part.Got.IsZero():
		return []Problem{{State: Unknown, Text: "Asking for Deployments …"}}
	}
	var out []Problem
	if !part.Fresh.Synced {
		out = append(out, Problem{State: Converging, Text: part.Fresh.Reason})
	}
	rolling, pending := 0, 0
	var stalled []Problem
	for _, d := range part.Value {
		switch condition, why := Standing(d); condition {
		case fleet.ConditionStalled:
			if !heldBack(d) { // the hold is told, once
				stalled = append(stalled, Problem{State: Degraded, Text: fmt.Sprintf("Deployment %s: %s", d.Name, why), More: &Page{"/deployments/" + string(d.Name), "look at " + string(d.Name)}})
			}
		case fleet.ConditionReconciling:
			rolling++
			pending += d.Status.Aggregate.Pending
		}
	}
	if len(stalled) > maxStalled {
		stalled = []Problem{{State: Degraded, Text: fmt.Sprintf("%d deployments are stalled, among them %s", len(stalled), strings.TrimPrefix(stalled[0].Text, "Deployment ")), More: &Page{"/deployments", "list them"}}}
	}
	out = append(out, stalled...)
	if rolling > 0 {
		out = append(out, Problem{State: Converging, Text: fmt.Sprintf("%s on the way: %d devices have not reported success yet", count(rolling, "deployment"), pending)})
	}
	return out
}

// maxStalled is how many stalled Deployments are told one by one.
const maxStalled = 2

// heldBack reports whether a Deployment is stalled only because the brake holds its deletes.
func heldBack(d fleet.DeploymentView) bool {
	return slices.ContainsFunc(d.Status.Conditions, func(c fleet.Condition) bool {
		return c.Type == fleet.ConditionStalled && c.Reason == fleet.ReasonHeld
	})
}

// Standing returns which condition of a Deployment is true, Ready, Reconciling or Stalled, and what it says. It is "" when
// none is, as for one that is held.
func Standing(d fleet.DeploymentView) (condition, message string) {
	for _, want := range []string{fleet.ConditionStalled, fleet.ConditionReconciling, fleet.ConditionReady} {
		for _, c := range d.Status.Conditions {
			if c.Type == want && c.Status == fleet.ConditionTrue {
				return want, c.Message
			}
		}
	}
	return "", ""
}

// progress counts what there is to count: messages of sources that are being read, else pairs that are to report.
func progress(p Picture) *Progress {
	var read, rolled Progress
	for _, s := range p.Services {
		for _, r := range s.Replicas {
			for _, x := range r.Sources {
				if !x.Synced && !r.Silent() {
					read.Done += int(min(x.Done, x.Total))
					read.Total += int(x.Total)
				}
			}
		}
	}
	for _, d := range p.Deployments.Value {
		if c, _ := Standing(d); c == fleet.ConditionReconciling {
			rolled.Total += d.Status.Aggregate.MatchedDeviceCount
			rolled.Done += d.Status.Aggregate.MatchedDeviceCount - d.Status.Aggregate.Pending
		}
	}
	switch {
	case read.Total > 0:
		return &read
	case rolled.Total > 0:
		return &rolled
	}
	return nil
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }
