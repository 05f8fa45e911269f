package explain

import (
	"cmp"
	"slices"
	"strings"

	"harmony.dev/fleet"
)

// Groups gathers the devices of one Deployment by verdict and reason. The zero value has none.
type Groups struct {
	by map[groupKey]*fleet.VerdictGroup
	of map[string]int // groups of a verdict

	brief brief
}

type groupKey struct{ verdict, reason string }

// Add puts a device into its group. Devices come sorted by name.
func (g *Groups) Add(in Input) {
	if g.by == nil {
		g.by, g.of = map[groupKey]*fleet.VerdictGroup{}, map[string]int{}
	}
	a := judge(g.brief.input(in))
	key := groupKey{a.verdict, a.reason}
	if g.by[key] == nil && g.of[a.verdict] >= fleet.MaxGroups-1 {
		key.reason = ""
	}
	group := g.by[key]
	if group == nil {
		group = &fleet.VerdictGroup{Verdict: a.verdict, Reason: strings.Clone(key.reason), Next: a.next}
		g.by[key] = group
		g.of[a.verdict]++
	}
	group.Count++
	if len(group.Devices) < fleet.MaxGroupDevices {
		group.Devices = append(group.Devices, in.Device.ID)
	}
}

// List returns the groups, the gravest verdict first, and of one verdict the largest first.
func (g *Groups) List() []fleet.VerdictGroup {
	list := make([]fleet.VerdictGroup, 0, len(g.by))
	for _, group := range g.by {
		list = append(list, *group)
	}
	slices.SortFunc(list, func(a, b fleet.VerdictGroup) int {
		return cmp.Or(cmp.Compare(gravity(a.Verdict), gravity(b.Verdict)), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}

// gravity orders verdicts: what went wrong, what waits, what runs, what is not meant to.
func gravity(verdict string) int {
	order := []string{
		Failed, Invalid, DeviceInvalid, Held, PoisonReport, Unconfirmed, Stale, NoReport, HashDiffers, Applying, Pending, Removing,
		Running, NotRegistered, DeviceDeleting, Quarantined, DeploymentDeleting, NoMatch, NoDeployment,
	}
	return slices.Index(order, verdict)
}
