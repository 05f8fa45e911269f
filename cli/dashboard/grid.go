package dashboard

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"harmony.dev/fleet"
)

// What a device is shown as: the gravest class of what is desired on it, whether or not that is stale.
const (
	cellRunning = "running"
	cellFailed  = "failed"
	cellPending = "pending"
	cellStale   = "stale"
	cellIdle    = "idle" // nothing is desired on it
)

// cells lists them in the order in which people read them.
func cells() []string { return []string{cellRunning, cellPending, cellFailed, cellStale, cellIdle} }

func cell(d fleet.DeviceSummary) string {
	switch {
	case d.State == fleet.DeviceStale:
		return cellStale
	case d.Class == "":
		return cellIdle
	}
	return string(d.Class)
}

// tally counts devices by what they are shown as.
func tally(devices []fleet.DeviceSummary) map[string]int {
	n := map[string]int{}
	for _, d := range devices {
		n[cell(d)]++
	}
	return n
}

// density returns how large cells are, so that a fleet fits a screen.
func density(n int) string {
	switch {
	case n <= 300:
		return "large"
	case n <= 2500:
		return "medium"
	}
	return "small"
}

// gridHTML writes a cell for each device. It is written by hand, since a template takes ten times as long for 10,000:
// what goes into it are names that are checked to be DNS labels, and words of ours.
func gridHTML(devices []fleet.DeviceSummary) template.HTML {
	var b strings.Builder
	b.Grow(32 * len(devices))
	for _, d := range devices {
		if d.Name.Validate() != nil || !slices.Contains(cells(), cell(d)) {
			continue
		}
		fmt.Fprintf(&b, "<i id=d-%s class=%s></i>", d.Name, cell(d))
	}
	return template.HTML(b.String()) //nolint:gosec // see above
}

// changedCells returns the cells that differ, as name and class. ok is false when the devices are not the same ones.
func changedCells(was, is []fleet.DeviceSummary) (changed [][2]string, ok bool) {
	if len(was) != len(is) {
		return nil, false
	}
	changed = [][2]string{}
	for i, d := range is {
		if d.Name != was[i].Name {
			return nil, false
		}
		if cell(d) != cell(was[i]) {
			changed = append(changed, [2]string{string(d.Name), cell(d)})
		}
	}
	return changed, true
}
