package service

import (
	"cmp"
	"fmt"
	"slices"

	"harmony.dev/fleet"
)

// source is a source and whether the instance needs it to be ready.
type source struct {
	fleet.Source
	required bool
}

// inputs is all that the state of an instance depends on.
type inputs struct {
	Ending     *fleet.Reason  // the process is going to end, and why
	Connected  bool           // every connection is up
	SetUp      bool           // the service has wired itself: Sources is complete
	Sources    []source       // what it reads
	Degraded   []fleet.Reason // dependencies that are lost or unusable
	Held       *fleet.Reason  // the brake
	Converging bool           // something derived is not written yet
	Waiting    []fleet.Reason // what derived things wait for
}

// verdict is the state of an instance.
type verdict struct {
	State   fleet.State
	Ready   bool
	Reasons []fleet.Reason // never nil; what is wrong, the gravest first
}

// judge returns the state of an instance. The first that holds is the state:
//
//	degraded    ending, a degraded reason is set, or a required source cannot be read
//	starting    not connected or not set up
//	replaying   a required source is not synced
//	held        the brake holds deletes back
//	converging  an optional source is not synced, or something derived is not written or waits
//	ready
func judge(in inputs) verdict {
	required, optional := unsynced(in.Sources, true), unsynced(in.Sources, false)
	v := verdict{
		Ready:   in.Ending == nil && in.SetUp && len(required) == 0,
		Reasons: []fleet.Reason{},
	}
	if in.Ending != nil {
		v.Reasons = append(v.Reasons, *in.Ending)
	}
	v.Reasons = append(v.Reasons, in.Degraded...)
	if in.Held != nil {
		v.Reasons = append(v.Reasons, *in.Held)
	}
	v.Reasons = append(append(append(v.Reasons, required...), optional...), setAside(in.Sources)...)
	v.Reasons = append(v.Reasons, in.Waiting...)
	switch {
	case in.Ending != nil || len(in.Degraded) > 0 || lost(in.Sources):
		v.State = fleet.StateDegraded
	case !in.Connected || !in.SetUp:
		v.State = fleet.StateStarting
	case len(required) > 0:
		v.State = fleet.StateReplaying
	case in.Held != nil:
		v.State = fleet.StateHeld
	case len(optional) > 0 || in.Converging || len(in.Waiting) > 0:
		v.State = fleet.StateConverging
	default:
		v.State = fleet.StateReady
	}
	return v
}

const reasonNotSynced = "SourceNotSynced"

func unsynced(sources []source, required bool) []fleet.Reason {
	var reasons []fleet.Reason
	for _, s := range sources {
		if s.Synced || s.required != required {
			continue
		}
		text := fmt.Sprintf("%s: %d of about %d read", s.Name, s.Done, s.Total)
		if s.Reason != "" {
			text = fmt.Sprintf("%s: %s", s.Name, s.Reason)
		}
		reasons = append(reasons, fleet.Reason{Reason: cmp.Or(s.Problem, reasonNotSynced), Message: text})
	}
	return reasons
}

func entries(n int) string {
	if n == 1 {
		return "1 entry is"
	}
	return fmt.Sprintf("%d entries are", n)
}

// lost reports whether a required source cannot even be read.
func lost(sources []source) bool {
	return slices.ContainsFunc(sources, func(s source) bool { return s.required && !s.Synced && s.Problem != "" })
}

func setAside(sources []source) []fleet.Reason {
	var reasons []fleet.Reason
	for _, s := range sources {
		if s.Poison == 0 {
			continue
		}
		text := fmt.Sprintf("%s: %s set aside", s.Name, entries(s.Poison))
		if len(s.Set) > 0 {
			text += fmt.Sprintf(", among them %q: %s", s.Set[0].Key, s.Set[0].Error)
		}
		reasons = append(reasons, fleet.Reason{Reason: fleet.ReasonSetAside, Message: text})
	}
	return reasons
}
