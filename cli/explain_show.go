package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"harmony.dev/fleet"
)

// verdictNoMatch is the verdict on what does not select a device: of the least interest.
const verdictNoMatch = "NoMatch"

// worstShown is how many pairs an explanation shows; wide shows all that the answer has.
const worstShown = 10

// explanationPage is one Deployment on one device.
func explanationPage(about topic, got fleet.DeviceExplainResponse) *page {
	p := &page{}
	p.field("device", string(about.device))
	p.field("deployment", string(about.deployment))
	p.field("verdict", got.Verdict)
	p.field("why", got.Message)
	p.field("next", nextText(got.Next))
	if pair := got.Pair; pair != nil {
		p.field("desired hash", shortHash(pair.DesiredHash, true))
		p.field("reported hash", reportedText(*pair, true))
	}
	p.freshness(got.Freshness)
	p.heading("facts")
	for _, fact := range got.Facts {
		p.line("  %s", fact)
	}
	return p
}

// deviceVerdictsPage is all Deployments on one device: those that do not select it come last.
func deviceVerdictsPage(id fleet.DeviceID, d fleet.DevicesGetResponse, known bool, got fleet.DeviceVerdictsResponse, wide bool) *page {
	p := &page{}
	p.field("device", string(id))
	fresh := []fleet.Freshness{got.Freshness}
	if known {
		fresh = append(fresh, d.Freshness)
		p.field("state", deviceStateText(d))
		p.field("labels", dash(clip(labelText(d.Device.Labels), wide)))
	} else {
		p.field("state", "nobody knows a device of this name: check it with 'fleet get devices'")
	}
	p.freshness(fresh...)
	if len(got.Items) == 0 {
		p.heading("there are no deployments")
		return p
	}
	items := slices.Clone(got.Items)
	slices.SortStableFunc(items, func(a, b fleet.DeviceVerdict) int { return unmatched(a) - unmatched(b) })
	var rows [][]string
	var next advice
	for _, v := range items {
		rows = append(rows, verdictRow(v, wide))
		if v.Verdict != verdictNoMatch || wide { // that is no trouble, unless somebody asks
			next.add(v.Next, string(v.Deployment))
		}
	}
	p.table([]string{"DEPLOYMENT", "VERDICT", "DESIRED", "REPORTED", "WHY"}, rows)
	next.show(p)
	return p
}

func unmatched(v fleet.DeviceVerdict) int {
	if v.Verdict == verdictNoMatch {
		return 1
	}
	return 0
}

func verdictRow(v fleet.DeviceVerdict, wide bool) []string {
	desired, reported := "-", "-"
	if v.Pair != nil {
		desired, reported = shortHash(v.Pair.DesiredHash, wide), reportedText(*v.Pair, wide)
	}
	return []string{string(v.Deployment), v.Verdict, desired, reported, clip(v.Message, wide)}
}

// reportedText is "1a2b3c4d5e6f Running", or "-".
func reportedText(pair fleet.PairView, wide bool) string {
	if pair.Phase == "" {
		return shortHash(pair.ObservedHash, wide)
	}
	return shortHash(pair.ObservedHash, wide) + " " + clip(string(pair.Phase), wide)
}

// deviceStateText is "Fresh, last seen 3s ago, quarantined".
func deviceStateText(d fleet.DevicesGetResponse) string {
	parts := []string{string(d.Device.State), "last seen " + ago(d.AsOf, d.Device.LastSeen)}
	for _, flag := range []struct {
		is   bool
		text string
	}{
		{!d.Device.Registered, "no Device resource"},
		{d.Device.Deleting, "being deleted"},
		{d.Device.Quarantined, "quarantined"},
	} {
		if flag.is {
			parts = append(parts, flag.text)
		}
	}
	return strings.Join(parts, ", ")
}

// deploymentVerdictsPage is one Deployment on all devices.
func deploymentVerdictsPage(got fleet.DeploymentExplainResponse, pairs []fleet.PairView, wide bool) *page {
	p := &page{}
	deploymentHead(p, got.Deployment, wide)
	if h := got.Hold; h != nil {
		p.field("brake", holdText(*h))
	}
	p.freshness(got.Freshness)
	conditionTable(p, got.Deployment.Status.Conditions)
	var rows [][]string
	var next advice
	for _, g := range got.Groups {
		rows = append(rows, []string{strconv.Itoa(g.Count), g.Verdict, examples(g.Devices, g.Count, len(g.Devices)), clip(groupReason(got.Groups, g), wide)})
		if g.Verdict != verdictNoMatch || wide || len(got.Groups) == 1 {
			next.add(g.Next, g.Verdict)
		}
	}
	if len(rows) == 0 {
		p.heading("there are no devices")
		return p
	}
	p.table([]string{"DEVICES", "VERDICT", "WHICH", "WHY"}, rows)
	next.show(p)
	worst := slices.DeleteFunc(slices.Clone(pairs), func(v fleet.PairView) bool { return v.Class == fleet.ClassRunning })
	if len(worst) > 0 {
		p.heading("the worst pairs ('fleet explain DEVICE/" + string(got.Deployment.Name) + "' tells all of one)")
		pairTable(p, worst, worstShown, wide, true)
	}
	return p
}

// groupReason says what a group has in common; the group without a reason among those with one has the rest.
func groupReason(all []fleet.VerdictGroup, g fleet.VerdictGroup) string {
	if g.Reason != "" {
		return g.Reason
	}
	if slices.ContainsFunc(all, func(o fleet.VerdictGroup) bool { return o.Verdict == g.Verdict && o.Reason != "" }) {
		return "various other reasons"
	}
	return "-"
}

// deploymentHead is what is said of a Deployment in a few lines.
func deploymentHead(p *page, d fleet.DeploymentView, wide bool) {
	p.field("deployment", string(d.Name))
	p.field("generation", generationText(d))
	p.field("selects", clip(selectorText(d.TargetSelector), wide))
	p.field("devices", countText(d.Status.Aggregate))
}

func generationText(d fleet.DeploymentView) string {
	switch observed := d.Status.ObservedGeneration; {
	case d.UID == "":
		return "the resource is gone"
	case d.Deleting:
		return fmt.Sprintf("%d, being deleted", d.Generation)
	case observed == d.Generation:
		return fmt.Sprintf("%d, applied", d.Generation)
	case observed == 0:
		return fmt.Sprintf("%d, NOT APPLIED YET", d.Generation)
	default:
		return fmt.Sprintf("%d, NOT APPLIED YET: %d is", d.Generation, observed)
	}
}

func countText(a fleet.Aggregate) string {
	text := fmt.Sprintf("%d matched: %d running, %d failed, %d pending, %d stale", a.MatchedDeviceCount, a.Running, a.Failed, a.Pending, a.Stale)
	if last := a.StaleLastKnown; a.Stale > 0 {
		text += fmt.Sprintf(" (last known %d running, %d failed, %d pending)", last.Running, last.Failed, last.Pending)
	}
	return text
}

func holdText(h fleet.Hold) string {
	if h.Approved {
		return fmt.Sprintf("hold %s is approved", h.ID)
	}
	return fmt.Sprintf("hold %s keeps %s back in the fleet: look with 'fleet plan', let them go with 'fleet hold approve %s'", h.ID, plural(h.Deletes, "delete"), h.ID)
}

func conditionTable(p *page, conditions []fleet.Condition) {
	var rows [][]string
	for _, c := range conditions {
		rows = append(rows, []string{c.Type, string(c.Status), c.Reason, c.Message})
	}
	if len(rows) > 0 {
		p.table([]string{"CONDITION", "STATUS", "REASON", "MESSAGE"}, rows)
	}
}

// pairTable shows the first pairs: of a Deployment by device, or of a device by deployment.
func pairTable(p *page, pairs []fleet.PairView, most int, wide, byDevice bool) {
	name := "DEPLOYMENT"
	if byDevice {
		name = "DEVICE"
	}
	if wide {
		most = len(pairs)
	}
	var rows [][]string
	for _, v := range pairs[:min(len(pairs), most)] {
		row := []string{string(v.Deployment), classText(v), shortHash(v.DesiredHash, wide), reportedText(v, wide), eventText(v.LastEventAt), dash(clip(v.LastError, wide))}
		if byDevice {
			row[0] = string(v.Device)
		}
		rows = append(rows, row)
	}
	p.table([]string{name, "CLASS", "DESIRED", "REPORTED", "AT (ITS CLOCK)", "ERROR"}, rows)
	if more := len(pairs) - len(rows); more > 0 {
		p.line("… and %d more: -o wide shows them", more)
	}
}

// eventText is a time that a device wrote, to the second.
func eventText(at string) string {
	t, err := fleet.ParseTime(at)
	if err != nil {
		return dash(clip(at, false))
	}
	return t.Format(timeFormat)
}

// classText is "stale (running)".
func classText(v fleet.PairView) string {
	if v.LastKnown == "" {
		return string(v.Class)
	}
	return fmt.Sprintf("%s (%s)", v.Class, v.LastKnown)
}

// advice gathers what to do next, and for whom.
type advice struct {
	texts []string
	whom  map[string][]string
}

func (a *advice) add(next, who string) {
	if next == "" {
		return
	}
	if a.whom == nil {
		a.whom = map[string][]string{}
	}
	if a.whom[next] == nil {
		a.texts = append(a.texts, next)
	}
	if !slices.Contains(a.whom[next], who) {
		a.whom[next] = append(a.whom[next], who)
	}
}

// adviceNames is how many names stand in front of an advice.
const adviceNames = 5

func (a *advice) show(p *page) {
	if len(a.texts) == 0 {
		return
	}
	p.heading("next")
	for _, next := range a.texts {
		names := a.whom[next]
		who := strings.Join(names[:min(len(names), adviceNames)], ", ")
		if more := len(names) - adviceNames; more > 0 {
			who += fmt.Sprintf(" and %d more", more)
		}
		p.line("  %s: %s", who, next)
	}
}

func nextText(next string) string {
	if next == "" {
		return "nothing to do"
	}
	return next
}
