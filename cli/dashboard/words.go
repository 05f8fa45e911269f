package dashboard

import (
	"fmt"
	"slices"
	"strings"

	"harmony.dev/cli/picture"
	"harmony.dev/fleet"
)

// segment is a part of a stacked bar, in percent of its width.
type segment struct {
	Class    string
	At, Wide float64
}

// bar divides a bar among the classes of an aggregate. What is there is at least visible.
func bar(a fleet.Aggregate) []segment {
	const least = 1.5
	parts := []struct {
		class string
		n     int
	}{{cellRunning, a.Running}, {cellPending, a.Pending}, {cellFailed, a.Failed}, {cellStale, a.Stale}}
	total := 0.0
	for _, p := range parts {
		if p.n > 0 {
			total += max(least, 100*float64(p.n)/float64(max(a.MatchedDeviceCount, 1)))
		}
	}
	var out []segment
	at := 0.0
	for _, p := range parts {
		if p.n == 0 {
			continue
		}
		wide := max(least, 100*float64(p.n)/float64(a.MatchedDeviceCount)) * 100 / total
		out = append(out, segment{p.class, at, wide})
		at += wide
	}
	return out
}

// standing is what a Deployment is shown as, and why.
func standing(d fleet.DeploymentView) struct{ Word, Why string } {
	if d.Deleting {
		return struct{ Word, Why string }{"Deleting", "it is being deleted"}
	}
	c, why := picture.Standing(d)
	if c == "" {
		for _, x := range d.Status.Conditions {
			if x.Type == fleet.ConditionReady {
				return struct{ Word, Why string }{"Not ready", x.Message}
			}
		}
		c = "Unknown"
	}
	return struct{ Word, Why string }{c, why}
}

// conditions are the conditions of a Deployment that say something that it is not already shown as.
func conditions(d fleet.DeploymentView) []fleet.Condition {
	shown := standing(d).Why
	return slices.DeleteFunc(slices.Clone(d.Status.Conditions), func(c fleet.Condition) bool {
		return c.Type != fleet.ConditionReady && c.Status != fleet.ConditionTrue || c.Message == shown
	})
}

// short is the beginning of a hash.
func short(hash string) string { return hash[:min(12, len(hash))] }

// words spells "NoMatch" as "no match".
func words(camel string) string {
	var b strings.Builder
	for i, r := range camel {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

func percent(p *picture.Progress) int {
	if p.Total == 0 {
		return 0
	}
	return min(100, 100*p.Done/p.Total)
}

// lag is how many messages of a source are not read yet.
func lag(s fleet.Source) uint64 { return s.Total - min(s.Done, s.Total) }

// heldDeletes are the deletes of a plan that the brake holds back.
func heldDeletes(p fleet.PlanShowResponse) []fleet.PlanDelete {
	return slices.DeleteFunc(slices.Clone(p.Deletes), func(d fleet.PlanDelete) bool { return !d.Held })
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// selectorWords writes a selector the way kubectl prints one.
func selectorWords(s fleet.Selector) string { return s.String() }

// brake is what is known of the brake: what it holds, or why that is not known.
type brake struct {
	Held    []string
	Unknown string
}

func brakeOf(p picture.Picture) (b brake) {
	for _, s := range p.Services {
		if s.Name != fleet.ServiceReconciler {
			continue
		}
		if !p.Link.Connected || s.Silent() || s.Heard.IsZero() {
			b.Unknown = "fleet-reconciler was last heard of at " + clock(s.Heard)
		}
		for _, r := range s.Replicas {
			for _, x := range r.Reasons {
				if x.Reason == fleet.ReasonHeld && !slices.Contains(b.Held, x.Message) {
					b.Held = append(b.Held, x.Message)
				}
			}
		}
	}
	return b
}
