package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"harmony.dev/fleet"
)

// pairsShown is how many pairs of a Deployment a description shows; wide shows all that the answer has.
const pairsShown = 20

// deploymentPage is everything known of a Deployment.
func deploymentPage(got fleet.DeploymentsGetResponse, wide bool) *page {
	d, a := got.Deployment, got.Deployment.Status.Aggregate
	p := &page{}
	p.field("name", string(d.Name))
	p.field("uid", d.UID)
	p.field("generation", generationText(d))
	p.field("selector", selectorLines(d.TargetSelector)...)
	p.field("score type", d.ScoreType)
	p.field("devices", countText(a))
	if e := a.LastError; e != nil {
		p.field("last error", fmt.Sprintf("%s on %s at %s (its clock)", orUnsaidError(e.Message), e.Device, e.At.UTC().Format(timeFormat)))
	}
	p.freshness(got.Freshness)
	conditionTable(p, d.Status.Conditions)
	if len(got.Pairs) > 0 {
		p.heading(fmt.Sprintf("pairs: %s, those that need a look first", pairCount(len(got.Pairs), a.MatchedDeviceCount)))
		pairTable(p, got.Pairs, pairsShown, wide, true)
	}
	changeTable(p, got.AsOf, got.Changes)
	p.heading(fmt.Sprintf("why: fleet explain deployment %s", d.Name))
	return p
}

func pairCount(got, all int) string {
	if got < all {
		return fmt.Sprintf("the first %d of %d", got, all)
	}
	return strconv.Itoa(got)
}

func orUnsaidError(text string) string { return cmp.Or(text, "it said no more") }

// selectorLines has a line for each label and each expression.
func selectorLines(s fleet.Selector) []string {
	if len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
		return []string{selectorText(s)}
	}
	lines := pairLines(s.MatchLabels)
	for _, e := range s.MatchExpressions {
		lines = append(lines, selectorText(fleet.Selector{MatchExpressions: []fleet.SelectorRequirement{e}}))
	}
	return lines
}

// pairLines is "key=value", sorted.
func pairLines(m map[string]string) []string {
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, k+"="+m[k])
	}
	return lines
}

func changeTable(p *page, asOf time.Time, changes []fleet.Change) {
	if len(changes) == 0 {
		return
	}
	p.heading("last changes, the newest first")
	var rows [][]string
	for _, c := range changes {
		at := c.At
		rows = append(rows, []string{at.UTC().Format(timeFormat), ago(asOf, &at), changeText(c)})
	}
	p.table([]string{"AT", "AGE", "WHAT"}, rows)
}

func changeText(c fleet.Change) string {
	switch c.Kind {
	case fleet.ChangeApplied:
		return fmt.Sprintf("the last of generation %d was written", c.Generation)
	case fleet.ChangeDesired:
		return fmt.Sprintf("its value was written for %s", c.Device)
	case fleet.ChangeReported:
		if c.Phase == "" {
			return fmt.Sprintf("%s sent a malformed report", c.Device)
		}
		return fmt.Sprintf("%s reported %s", c.Device, c.Phase)
	}
	return string(c.Kind)
}

// devicePage is everything known of a device.
func devicePage(got fleet.DevicesGetResponse, wide bool) *page {
	d := got.Device
	p := &page{}
	p.field("name", string(d.Name))
	p.field("uid", dash(d.UID))
	p.field("state", deviceStateText(got))
	p.field("last seen", moment(got.AsOf, d.LastSeen))
	p.field("heartbeat", moment(got.AsOf, got.HeartbeatAt))
	p.field("info", moment(got.AsOf, got.InfoAt))
	if got.StaleAfterSeconds > 0 {
		p.field("stale after", fmt.Sprintf("%s of silence", time.Duration(got.StaleAfterSeconds*float64(time.Second)).Round(time.Millisecond)))
	}
	p.field("registered", yesNo(d.Registered))
	p.field("quarantined", yesNo(d.Quarantined))
	p.field("deleting", yesNo(d.Deleting))
	p.field("agent", dash(d.Agent))
	p.field("labels", pairLines(d.Labels)...)
	p.field("inventory", clipped(pairLines(d.Inventory), wide)...)
	p.field("deployments", strconv.Itoa(d.Deployments))
	p.freshness(got.Freshness)
	if len(got.Pairs) > 0 {
		p.heading("pairs: " + pairCount(len(got.Pairs), d.Deployments))
		pairTable(p, got.Pairs, len(got.Pairs), wide, false)
	}
	p.heading(fmt.Sprintf("why: fleet explain device %s", d.Name))
	return p
}

// moment is "2026-03-04T05:06:07Z (3s ago)", or "never".
func moment(asOf time.Time, at *time.Time) string {
	if at == nil {
		return ago(asOf, at)
	}
	return fmt.Sprintf("%s (%s)", at.UTC().Format(timeFormat), ago(asOf, at))
}

func clipped(lines []string, wide bool) []string {
	for i := range lines {
		lines[i] = clip(lines[i], wide)
	}
	return lines
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
