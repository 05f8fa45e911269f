package projection_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
)

// model is the last value of every key: what a State is a function of.
type model struct {
	deployments map[fleet.DeploymentName]fleet.MirrorDeployment
	applied     map[fleet.DeploymentName]fleet.Applied
	devices     map[fleet.DeviceID]resource
	infos       map[fleet.DeviceID]info
	beats       map[fleet.DeviceID]projection.Origin
	desired     map[fleet.Pair]string // foreignValue: written by somebody else
	reports     map[fleet.Pair]report
	since       time.Time
	oldInfos    uint64
	doubted     uint64
	cutoff      time.Time
}

const foreignValue = "foreign"

type resource struct {
	value fleet.MirrorDevice
	at    projection.Origin
}

type info struct {
	good    *fleet.DeviceInfo
	goodAt  projection.Origin
	spoiled bool
	at      projection.Origin
}

type report struct {
	good    *fleet.Report
	spoiled bool
	at      projection.Origin
}

func newModel() *model {
	return &model{
		deployments: map[fleet.DeploymentName]fleet.MirrorDeployment{},
		applied:     map[fleet.DeploymentName]fleet.Applied{},
		devices:     map[fleet.DeviceID]resource{},
		infos:       map[fleet.DeviceID]info{},
		beats:       map[fleet.DeviceID]projection.Origin{},
		desired:     map[fleet.Pair]string{},
		reports:     map[fleet.Pair]report{},
	}
}

// op is one change of one key, for the model and for a State.
type op struct {
	name  string
	model func(*model)
	state func(*projection.State)
}

func (o op) String() string { return o.name }

var (
	deviceIDs       = []fleet.DeviceID{"d1", "d2", "d3", "d4"}
	deploymentNames = []fleet.DeploymentName{"api", "web"}
	epoch           = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

func value(uid string, n int) string {
	b, err := fleet.EncodeDesired(fleet.Desired{UID: uid, Score: fleet.Score{Type: "x", Data: fmt.Appendf(nil, "%d", n)}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

var values = []string{value("u1", 1), value("u1", 2), value("u2", 1), "{", foreignValue}

func genOp(t *rapid.T) op {
	gens := []func(*rapid.T) op{
		genReport, genReport, genReport, genDesired, genDesired, genBeat, genBeat,
		genInfo, genDevice, genDeployment, genApplied, genClock,
	}
	return rapid.SampledFrom(gens).Draw(t, "kind")(t)
}

func genPair(t *rapid.T) fleet.Pair {
	return fleet.Pair{
		Device:     rapid.SampledFrom(deviceIDs).Draw(t, "device"),
		Deployment: rapid.SampledFrom(deploymentNames).Draw(t, "deployment"),
	}
}

func genOrigin(t *rapid.T) projection.Origin {
	n := rapid.IntRange(1, 40).Draw(t, "stamp")
	return projection.Origin{Revision: uint64(n), At: epoch.Add(time.Duration(n) * time.Second)}
}

func genReport(t *rapid.T) op {
	p, at := genPair(t), genOrigin(t)
	switch rapid.IntRange(0, 6).Draw(t, "what") {
	case 0:
		return op{
			fmt.Sprintf("drop report %s", p),
			func(m *model) { delete(m.reports, p) },
			func(s *projection.State) { s.DropReport(p) },
		}
	case 1:
		return op{
			fmt.Sprintf("spoil report %s %d", p, at.Revision),
			func(m *model) { m.reports[p] = report{m.reports[p].good, true, at} },
			func(s *projection.State) { s.SpoilReport(p, at) },
		}
	}
	r := fleet.Report{
		Phase:        rapid.SampledFrom([]fleet.Phase{fleet.PhasePending, fleet.PhaseRunning, fleet.PhaseFailed}).Draw(t, "phase"),
		ObservedHash: fleet.Hash([]byte(rapid.SampledFrom(values).Draw(t, "about"))),
		LastEventAt:  epoch.Add(time.Duration(rapid.IntRange(-3, 3).Draw(t, "event")) * time.Hour).Format(time.RFC3339),
	}
	if r.Phase == fleet.PhaseFailed {
		r.LastError = rapid.SampledFrom([]string{"no image", "no space"}).Draw(t, "error")
	}
	return op{
		fmt.Sprintf("report %s %s %.6s at %s, stamp %d", p, r.Phase, r.ObservedHash, r.LastEventAt, at.Revision),
		func(m *model) { m.reports[p] = report{&r, false, at} },
		func(s *projection.State) { s.PutReport(p, r, at) },
	}
}

func genDesired(t *rapid.T) op {
	p := genPair(t)
	if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
		return op{
			fmt.Sprintf("drop desired %s", p),
			func(m *model) { delete(m.desired, p) },
			func(s *projection.State) { s.DropDesired(p) },
		}
	}
	v := rapid.SampledFrom(values).Draw(t, "value")
	return op{
		fmt.Sprintf("desired %s %s", p, v),
		func(m *model) { m.desired[p] = v },
		func(s *projection.State) { putDesired(s, p, v) },
	}
}

func putDesired(s *projection.State, p fleet.Pair, v string) {
	if v == foreignValue {
		s.PutForeign(p, epoch)
		return
	}
	_ = s.PutDesired(p, []byte(v), epoch) // the malformed value is one of the cases
}

func genBeat(t *rapid.T) op {
	d, at := rapid.SampledFrom(deviceIDs).Draw(t, "device"), genOrigin(t)
	if rapid.IntRange(0, 4).Draw(t, "what") == 0 {
		return op{
			fmt.Sprintf("drop heartbeat %s", d),
			func(m *model) { delete(m.beats, d) },
			func(s *projection.State) { s.DropHeartbeat(d) },
		}
	}
	return op{
		fmt.Sprintf("heartbeat %s %d", d, at.Revision),
		func(m *model) { m.beats[d] = at },
		func(s *projection.State) { s.PutHeartbeat(d, at) },
	}
}

func genInfo(t *rapid.T) op {
	d, at := rapid.SampledFrom(deviceIDs).Draw(t, "device"), genOrigin(t)
	switch rapid.IntRange(0, 3).Draw(t, "what") {
	case 0:
		return op{
			fmt.Sprintf("drop info %s", d),
			func(m *model) { delete(m.infos, d) },
			func(s *projection.State) { s.DropInfo(d) },
		}
	case 1:
		return op{
			fmt.Sprintf("spoil info %s %d", d, at.Revision),
			func(m *model) { m.infos[d] = info{m.infos[d].good, m.infos[d].goodAt, true, at} },
			func(s *projection.State) { s.SpoilInfo(d, at) },
		}
	}
	i := fleet.DeviceInfo{AgentVersion: rapid.SampledFrom([]string{"1", "2"}).Draw(t, "version")}
	return op{
		fmt.Sprintf("info %s %d", d, at.Revision),
		func(m *model) { m.infos[d] = info{&i, at, false, at} },
		func(s *projection.State) { s.PutInfo(d, i, at) },
	}
}

func genDevice(t *rapid.T) op {
	d, at := rapid.SampledFrom(deviceIDs).Draw(t, "device"), genOrigin(t)
	what := rapid.IntRange(0, 4).Draw(t, "what")
	if what == 0 {
		return op{
			fmt.Sprintf("drop device %s", d),
			func(m *model) { delete(m.devices, d) },
			func(s *projection.State) { s.DropDevice(d) },
		}
	}
	v := fleet.MirrorDevice{UID: "x", Deleting: what == 1}
	v.Status.State = rapid.SampledFrom([]fleet.DeviceState{"", fleet.DeviceNeverSeen, fleet.DeviceFresh, fleet.DeviceStale}).Draw(t, "state")
	if what == 2 {
		v = fleet.MirrorDevice{Tombstone: &fleet.Tombstone{UID: "x", Cause: fleet.TombstoneDeleted}}
	}
	return op{
		fmt.Sprintf("device %s %+v", d, v),
		func(m *model) { m.devices[d] = resource{v, at} },
		func(s *projection.State) { s.PutDevice(d, v, at) },
	}
}

func genDeployment(t *rapid.T) op {
	d := rapid.SampledFrom(deploymentNames).Draw(t, "deployment")
	if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
		return op{
			fmt.Sprintf("drop deployment %s", d),
			func(m *model) { delete(m.deployments, d) },
			func(s *projection.State) { s.DropDeployment(d) },
		}
	}
	v := fleet.MirrorDeployment{
		UID:        rapid.SampledFrom([]string{"u1", "u2"}).Draw(t, "uid"),
		Generation: int64(rapid.IntRange(1, 3).Draw(t, "generation")),
	}
	if rapid.IntRange(0, 4).Draw(t, "tombstone") == 0 {
		v = fleet.MirrorDeployment{Tombstone: &fleet.Tombstone{UID: v.UID, Cause: fleet.TombstoneVanished}}
	}
	return op{
		fmt.Sprintf("deployment %s %+v", d, v),
		func(m *model) { m.deployments[d] = v },
		func(s *projection.State) { s.PutDeployment(d, v) },
	}
}

func genApplied(t *rapid.T) op {
	d := rapid.SampledFrom(deploymentNames).Draw(t, "deployment")
	if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
		return op{
			fmt.Sprintf("drop applied %s", d),
			func(m *model) { delete(m.applied, d) },
			func(s *projection.State) { s.DropApplied(d) },
		}
	}
	v := fleet.Applied{UID: "u1", Generation: int64(rapid.IntRange(0, 3).Draw(t, "generation"))}
	return op{
		fmt.Sprintf("applied %s %d", d, v.Generation),
		func(m *model) { m.applied[d] = v },
		func(s *projection.State) { s.PutApplied(d, v, epoch) },
	}
}

func genClock(t *rapid.T) op {
	n := rapid.IntRange(0, 40).Draw(t, "time")
	at := epoch.Add(time.Duration(n) * time.Second)
	switch rapid.IntRange(0, 5).Draw(t, "what") {
	case 0:
		return op{
			fmt.Sprintf("doubt up to %d", n),
			func(m *model) { m.doubted = uint64(n) },
			func(s *projection.State) { s.DoubtReports(uint64(n)) },
		}
	case 1:
		return op{
			fmt.Sprintf("heartbeats since %s", at),
			func(m *model) { m.since = at },
			func(s *projection.State) { s.SetHeartbeatsSince(at) },
		}
	case 2:
		return op{
			fmt.Sprintf("doubt infos up to %d", n),
			func(m *model) { m.oldInfos = uint64(n) },
			func(s *projection.State) { s.DoubtInfos(uint64(n)) },
		}
	}
	return op{
		fmt.Sprintf("cutoff %s", at),
		func(m *model) { m.cutoff = at },
		func(s *projection.State) { s.SetCutoff(at) },
	}
}

// feed gives the values of the model to a State in an order drawn at random, each once or more often.
func (m *model) feed(t *rapid.T, s *projection.State) {
	var steps []func()
	add := func(step func()) { steps = append(steps, step) }
	for k, v := range m.deployments {
		add(func() { s.PutDeployment(k, v) })
	}
	for k, v := range m.applied {
		add(func() { s.PutApplied(k, v, epoch) })
	}
	for k, v := range m.devices {
		add(func() { s.PutDevice(k, v.value, v.at) })
	}
	for k, v := range m.beats {
		add(func() { s.PutHeartbeat(k, v) })
	}
	for k, v := range m.desired {
		add(func() { putDesired(s, k, v) })
	}
	for k, v := range m.infos {
		add(func() {
			if v.good != nil {
				s.PutInfo(k, *v.good, v.goodAt)
			}
			if v.spoiled {
				s.SpoilInfo(k, v.at)
			}
		})
	}
	for k, v := range m.reports {
		add(func() {
			if v.good != nil {
				s.PutReport(k, *v.good, v.at)
			}
			if v.spoiled {
				s.SpoilReport(k, v.at)
			}
		})
	}
	add(func() { s.SetHeartbeatsSince(m.since) })
	add(func() { s.DoubtInfos(m.oldInfos) })
	add(func() { s.SetCutoff(m.cutoff) })
	add(func() { s.DoubtReports(m.doubted) })

	order := rapid.SliceOfN(rapid.Uint32(), 2*len(steps), 2*len(steps)).Draw(t, "order")
	twice := slices.Concat(steps, steps)
	index := make([]int, len(twice))
	for i := range index {
		index[i] = i
	}
	slices.SortStableFunc(index, func(a, b int) int { return int(int64(order[a]) - int64(order[b])) })
	for _, i := range index {
		twice[i]()
	}
}

// seen returns the newest stamp of a device's keys.
func (m *model) seen(d fleet.DeviceID) time.Time {
	newest := m.beats[d].At
	for _, at := range slices.Concat([]time.Time{m.infos[d].at.At}, m.reportStamps(d)) {
		if at.After(newest) {
			newest = at
		}
	}
	return newest
}

func (m *model) reportStamps(d fleet.DeviceID) []time.Time {
	var out []time.Time
	for p, r := range m.reports {
		if p.Device == d {
			out = append(out, r.at.At)
		}
	}
	return out
}

// lastSeen is the definition of staleness, read from the design and not from the code.
func (m *model) lastSeen(d fleet.DeviceID) (at time.Time, known bool) {
	at = m.seen(d)
	state := m.devices[d].value.Status.State
	if at.IsZero() && state != fleet.DeviceFresh && state != fleet.DeviceStale {
		return time.Time{}, false
	}
	if at.Before(m.since) {
		at = m.since
	}
	return at, true
}

// aggregate folds the model directly.
func (m *model) aggregate(name fleet.DeploymentName) fleet.Aggregate {
	var a fleet.Aggregate
	for p := range m.desired {
		if p.Deployment != name {
			continue
		}
		a.MatchedDeviceCount++
		class := m.class(p)
		if at, known := m.lastSeen(p.Device); known && at.Before(m.cutoff) {
			a.Stale++
			add(class, &a.StaleLastKnown.Running, &a.StaleLastKnown.Failed, &a.StaleLastKnown.Pending)
			continue
		}
		add(class, &a.Running, &a.Failed, &a.Pending)
		if class == fleet.ClassFailed {
			r := m.reports[p].good
			e := fleet.LastError{Device: p.Device, Message: r.LastError, At: r.EventTime()}
			if l := a.LastError; l == nil || e.At.After(l.At) || e.At.Equal(l.At) && e.Device > l.Device {
				a.LastError = &e
			}
		}
	}
	return a
}

func add(c fleet.Class, running, failed, pending *int) {
	switch c {
	case fleet.ClassRunning:
		*running++
	case fleet.ClassFailed:
		*failed++
	case fleet.ClassPending, fleet.ClassStale:
		*pending++
	}
}

// class is what a pair counts as while its device is not stale.
func (m *model) class(p fleet.Pair) fleet.Class {
	wish := m.desired[p]
	d, err := fleet.DecodeDesired([]byte(wish))
	if err != nil {
		return fleet.ClassPending
	}
	if r, ok := m.deployments[p.Deployment]; ok && r.Tombstone == nil && r.UID != d.UID {
		return fleet.ClassPending
	}
	r := m.reports[p].good
	if r == nil || r.ObservedHash != fleet.Hash([]byte(wish)) {
		return fleet.ClassPending
	}
	switch r.Phase {
	case fleet.PhaseRunning:
		return fleet.ClassRunning
	case fleet.PhaseFailed:
		return fleet.ClassFailed
	case fleet.PhasePending:
	}
	return fleet.ClassPending
}

// dump writes down all that a State shows, in a fixed order.
func dump(s *projection.State) string {
	var b strings.Builder
	for _, name := range s.DeploymentNames() {
		d, _ := s.Deployment(name)
		fmt.Fprintf(&b, "deployment %s %s\n", name, spell(d))
	}
	for _, id := range s.DeviceNames() {
		d, _ := s.Device(id)
		fmt.Fprintf(&b, "device %s %s\n", id, spell(d))
		for p := range s.PairsOf(id) {
			fmt.Fprintf(&b, "  pair %s\n", spell(p))
		}
	}
	fmt.Fprintf(&b, "asking %v\nleaving %v\norphans %v\n", s.Askers(), slices.Sorted(s.Leaving()), s.Orphans())
	fmt.Fprintf(&b, "newest %s known %d stale %d\n", s.Newest(), s.Known(), s.Stale())
	return b.String()
}

// keys returns what the model supports: the entities that a State must have, and no others.
func (m *model) keys() (devices []fleet.DeviceID, deployments []fleet.DeploymentName) {
	ds, ps := map[fleet.DeviceID]bool{}, map[fleet.DeploymentName]bool{}
	for _, p := range slices.Concat(slices.Collect(maps.Keys(m.desired)), slices.Collect(maps.Keys(m.reports))) {
		ds[p.Device], ps[p.Deployment] = true, true
	}
	for _, k := range slices.Concat(slices.Collect(maps.Keys(m.devices)), slices.Collect(maps.Keys(m.infos)), slices.Collect(maps.Keys(m.beats))) {
		ds[k] = true
	}
	for _, k := range slices.Concat(slices.Collect(maps.Keys(m.deployments)), slices.Collect(maps.Keys(m.applied))) {
		ps[k] = true
	}
	return slices.Sorted(maps.Keys(ds)), slices.Sorted(maps.Keys(ps))
}
