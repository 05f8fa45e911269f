package status

import (
	"encoding/json"
	"fmt"

	"harmony.dev/fleet"
)

// Stage is what people want to know of the status of a Deployment. The zero value is that of a Deployment without one.
type Stage struct {
	Condition  string // the type of the condition that is True, "" when none is
	Reason     string // of the condition Ready, which is that of the one that is True
	Message    string
	Generation int64 // observed
	Stale      int
	Matched    int
}

// StageOf returns the stage of a status.
func StageOf(s fleet.DeploymentStatus) Stage {
	g := Stage{Generation: s.ObservedGeneration, Stale: s.Aggregate.Stale, Matched: s.Aggregate.MatchedDeviceCount}
	for _, c := range s.Conditions {
		if c.Type == fleet.ConditionReady {
			g.Reason, g.Message = c.Reason, c.Message
		}
		if c.Status == fleet.ConditionTrue {
			g.Condition = c.Type
		}
	}
	return g
}

// StoredStage returns the stage of a stored status. One that cannot be read counts as none.
func StoredStage(stored map[string]any) Stage {
	b, err := json.Marshal(stored)
	if err != nil {
		return Stage{}
	}
	var s fleet.DeploymentStatus
	if json.Unmarshal(b, &s) != nil {
		return Stage{}
	}
	return StageOf(s)
}

// Like reports whether both are the same to people, but for the numbers in them.
func (s Stage) Like(other Stage) bool {
	return s.Condition == other.Condition && s.Reason == other.Reason && s.Generation == other.Generation &&
		(s.Stale > 0) == (other.Stale > 0)
}

// News is something to be told to people.
type News struct {
	Type    string // of a Kubernetes Event: "Normal" or "Warning"
	Reason  string
	Message string
}

// The reasons of news that are of no condition.
const (
	reasonDevicesSilent = "DevicesSilent" // devices of a Deployment fell silent
	reasonDevicesHeard  = "DevicesHeard"  // all of them are heard of again
)

// Tell returns what to tell of a transition:
//
//	it became Ready, for another reason or with another generation     Normal   the reason of Ready
//	it became Stalled, or for another reason; but see below            Warning  the reason of Stalled
//	the whole fleet fell silent                                        Warning  HeartbeatsSilent
//	some of its devices fell silent, none was silent before            Warning  DevicesSilent
//	none of them is silent any more                                    Normal   DevicesHeard
//
// What the brake holds back is told by the reconciler, which knows what a person can do about it. Of single devices nothing
// is told: thousands may fall silent at once. Steps on the way are nobody's news.
func Tell(from, to Stage) []News {
	var news []News
	add := func(kind, reason, message string) { news = append(news, News{kind, reason, message}) }
	same := from.Condition == to.Condition && from.Reason == to.Reason
	switch {
	case to.Reason == fleet.ReasonHeartbeatsSilent:
		if from.Reason != to.Reason {
			add("Warning", to.Reason, to.Message)
		}
		return news
	case to.Condition == fleet.ConditionReady && (!same || from.Generation != to.Generation):
		add("Normal", to.Reason, fmt.Sprintf("generation %d: %s", to.Generation, to.Message))
	case to.Condition == fleet.ConditionStalled && !same && to.Reason != fleet.ReasonHeld:
		add("Warning", to.Reason, to.Message)
	}
	switch {
	case from.Stale == 0 && to.Stale > 0:
		add("Warning", reasonDevicesSilent, fmt.Sprintf("%d of %d devices fell silent", to.Stale, to.Matched))
	case from.Stale > 0 && to.Stale == 0 && to.Matched > 0:
		add("Normal", reasonDevicesHeard, fmt.Sprintf("all %d devices are heard of again", to.Matched))
	}
	return news
}
