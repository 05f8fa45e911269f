package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"harmony.dev/fleet"
)

// How many names and keys a plan shows; wide shows all that the answer has.
const (
	namesShown = 5
	keysShown  = 20
)

// previewPage is what would come of Deployments in files.
func previewPage(pr preview, wide bool) *page {
	p := &page{}
	var fresh []fleet.Freshness
	for _, w := range pr.Items {
		if w.Plan != nil {
			fresh = append(fresh, w.Plan.Freshness)
		}
	}
	if len(fresh) > 0 {
		p.freshness(fresh...)
	}
	for _, w := range pr.Items {
		p.heading(fmt.Sprintf("deployment %s: %s (%s:%d)", cmp.Or(string(w.Deployment), "without a name"), cmp.Or(string(w.State), "planned"), w.File, w.Line))
		w.show(p, wide)
	}
	p.heading(pr.summary())
	return p
}

func (w previewItem) show(p *page, wide bool) {
	if w.Error != "" {
		p.field("  it cannot be applied", strings.Split(w.Error, "\n")...)
	}
	if w.Plan != nil {
		planFields(p, *w.Plan, wide)
	}
	if w.Warning != "" {
		p.field("  WARNING", w.Warning)
	}
}

// planFields is the plan of one candidate.
func planFields(p *page, r fleet.PlanShowResponse, wide bool) {
	if r.PutCount+r.GainedCount+r.LostCount+len(r.Deletes) == 0 {
		p.field("  writes", "nothing: "+unwrittenText(r))
		return
	}
	if r.Candidate == fleet.CandidateUnchanged {
		p.field("  mind", "applying it changes nothing: this is due anyway")
	}
	p.field("  gains", devicesText(r.Gained, r.GainedCount, wide))
	p.field("  loses", devicesText(r.Lost, r.LostCount, wide))
	p.field("  puts", putsText(r.PutCount, r.GainedCount))
	p.field("  deletes", deletesText(r))
	if brake := brakeText(r); len(brake) > 0 {
		p.field("  brake", brake...)
	}
}

// unwrittenText says why a plan writes no key.
func unwrittenText(r fleet.PlanShowResponse) string {
	if r.KeyCount == 0 {
		return "it selects no device that is there now"
	}
	if r.KeyCount == 1 {
		return "1 device has it as it is"
	}
	return fmt.Sprintf("%d devices have it as it is", r.KeyCount)
}

func devicesText(devices []fleet.DeviceID, count int, wide bool) string {
	if count == 0 {
		return "no device"
	}
	most := namesShown
	if wide {
		most = len(devices)
	}
	return fmt.Sprintf("%s: %s", plural(count, "device"), examples(devices, count, most))
}

func putsText(puts, gained int) string {
	text := plural(puts, "key")
	if again := puts - gained; gained > 0 && again > 0 {
		text += fmt.Sprintf(": %d new, %d with another value", gained, again)
	} else if again > 0 {
		text += ", with another value"
	}
	return text
}

func deletesText(r fleet.PlanShowResponse) string {
	text := plural(r.DeleteCount, "key")
	if later := r.WaitCount + r.HeldCount; later > 0 {
		text += fmt.Sprintf(" at once, %d not", later)
	}
	return text
}

// brakeText is what the brake says to the deletes, a line for each fate.
func brakeText(r fleet.PlanShowResponse) []string {
	var lines []string
	if r.DeleteCount > 0 {
		lines = append(lines, fmt.Sprintf("lets %s pass (%s)", plural(r.DeleteCount, "delete"), causes(r, func(d fleet.PlanDelete) bool { return !d.Held && !d.Wait })))
	}
	if r.WaitCount > 0 {
		lines = append(lines, fmt.Sprintf("has %s wait until the mirror is whole and quiet (%s)", plural(r.WaitCount, "delete"), causes(r, func(d fleet.PlanDelete) bool { return d.Wait })))
	}
	if r.HeldCount > 0 {
		lines = append(lines, fmt.Sprintf("holds %s until a person approves (%s)", plural(r.HeldCount, "delete"), causes(r, func(d fleet.PlanDelete) bool { return d.Held })))
		if r.Hold != nil {
			lines = append(lines, fmt.Sprintf("… which is done with 'fleet hold approve %s', for all %s that it holds", r.Hold.ID, plural(r.Hold.Deletes, "delete")))
		}
	}
	return lines
}

// causes are those of some deletes, in words.
func causes(r fleet.PlanShowResponse, of func(fleet.PlanDelete) bool) string {
	var all []string
	for _, d := range r.Deletes {
		if text := causeText(d.Cause); of(d) && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	slices.Sort(all)
	return cmp.Or(strings.Join(all, "; "), "not among the first that are named")
}

func causeText(c fleet.Cause) string {
	switch c {
	case fleet.CauseEdited:
		return "edited: a changed selector is a wish"
	case fleet.CauseDeleted:
		return "deleted: the Deployment or the Device"
	case fleet.CauseQuarantined:
		return "quarantined: the Device"
	case fleet.CauseVanished:
		return "vanished: a resource that nobody was seen to delete"
	case fleet.CauseRegressed:
		return "regressed: a Deployment that is older than what was applied"
	case fleet.CauseRelabelled:
		return "relabelled: devices that lost a label"
	}
	return string(c)
}

// summary ends with what did not happen.
func (p preview) summary() string {
	var parts []string
	for _, state := range []fleet.CandidateState{fleet.CandidateNew, fleet.CandidateChanged, fleet.CandidateUnchanged, fleet.CandidateDeleting, stateInvalid} {
		if n := p.count(state); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	if len(parts) == 0 {
		parts = []string{plural(len(p.Items), "deployment")}
	}
	return strings.Join(parts, ", ") + "; nothing was written"
}

// presentPage is what the reconciler would write now.
func presentPage(name fleet.DeploymentName, r fleet.PlanShowResponse, wide bool) *page {
	p := &page{}
	p.field("plan of", cmp.Or(string(name), "all deployments"))
	p.field("keys now", fmt.Sprint(r.KeyCount))
	p.field("puts", plural(r.PutCount, "key"))
	p.field("deletes", deletesText(r))
	if brake := brakeText(r); len(brake) > 0 {
		p.field("brake", brake...)
	}
	p.freshness(r.Freshness)
	if r.PutCount+len(r.Deletes) == 0 && r.InvalidCount == 0 && len(r.Invalid) == 0 {
		p.heading("nothing is to be written: desired state is what it is to be")
		return p
	}
	keyTable(p, r, wide)
	invalidTable(p, r, wide)
	return p
}

func keyTable(p *page, r fleet.PlanShowResponse, wide bool) {
	var rows [][]string
	for _, d := range r.Deletes {
		rows = append(rows, []string{"delete" + fate(d), d.Key, causeText(d.Cause)})
	}
	for _, key := range r.Puts {
		rows = append(rows, []string{"put", key, "-"})
	}
	if len(rows) == 0 {
		return
	}
	all := r.PutCount + r.DeleteCount + r.HeldCount + r.WaitCount
	if !wide {
		rows = rows[:min(len(rows), keysShown)]
	}
	p.table([]string{"ACTION", "KEY", "CAUSE"}, rows)
	if more := all - len(rows); more > 0 {
		p.line("… and %d more: -o wide shows them, up to %d of each kind", more, fleet.MaxLimit)
	}
}

func fate(d fleet.PlanDelete) string {
	switch {
	case d.Held:
		return ", held"
	case d.Wait:
		return ", waiting"
	}
	return ""
}

func invalidTable(p *page, r fleet.PlanShowResponse, wide bool) {
	if len(r.Invalid) == 0 {
		return
	}
	var rows [][]string
	for _, i := range r.Invalid {
		rows = append(rows, []string{string(i.Deployment), clip(i.Message, wide)})
	}
	p.table([]string{"INVALID", "WHY IT CANNOT BE APPLIED"}, rows)
	if more := r.InvalidCount - len(rows); more > 0 {
		p.line("… and %d more", more)
	}
}
