package invariant

import (
	"encoding/json"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
	"harmony.dev/fleet/selector"
)

// resource is what scope depends on of a Deployment or Device.
type resource struct {
	uid         string
	generation  int64
	deleting    bool
	quarantined bool
	carried     bool              // the patcher mirrors it, or may: it is being deleted or has its finalizers (design, section 5)
	labels      map[string]string // of a Device
	target      *target           // of a Deployment
}

// target is whom a Deployment means and what it wants there.
type target struct {
	matcher selector.Matcher
	value   string // canonical bytes of the desired value
	invalid bool   // it cannot be applied
}

// same reports whether two states of a resource, nil for absent, cannot be told apart.
func (r *resource) same(o *resource) bool {
	if r == nil || o == nil {
		return r == o
	}
	return r.uid == o.uid && r.generation == o.generation && r.deleting == o.deleting &&
		r.quarantined == o.quarantined && r.carried == o.carried && r.target == o.target && maps.Equal(r.labels, o.labels)
}

// place says whether a pair is to have a key, as the reconciler judges it.
type place uint8

const (
	outside place = iota // it is to have none
	inside               // it is to have the Deployment's value
	kept                 // it cannot be said: the key stays as it is
)

// placeOf judges a pair by its two resources; nil is an absent one.
func placeOf(p, d *resource) place {
	switch {
	case p == nil || d == nil || p.deleting || d.deleting || d.quarantined:
		return outside
	case p.target.invalid || !p.carried || !d.carried:
		return kept
	case p.target.matcher.Matches(d.labels):
		return inside
	}
	return outside
}

// targets makes each distinct target once, so that they can be compared by address.
type targets struct {
	of        map[[2]string]*target        // by uid and spec
	generated map[string]map[int64]*target // by uid and generation
	devices   map[string]bool              // quarantined, by spec
}

func newTargets() *targets {
	return &targets{of: map[[2]string]*target{}, generated: map[string]map[int64]*target{}, devices: map[string]bool{}}
}

// get returns the target of a Deployment's spec, or of the like part of its mirror entry.
func (t *targets) get(uid string, spec string) *target {
	key := [2]string{uid, spec}
	if t.of[key] == nil {
		t.of[key] = newTarget(uid, spec)
	}
	return t.of[key]
}

func newTarget(uid, spec string) *target {
	var s struct {
		TargetSelector fleet.Selector `json:"targetSelector"`
		Score          fleet.Score    `json:"score"`
	}
	invalid := &target{invalid: true}
	if json.Unmarshal([]byte(spec), &s) != nil {
		return invalid
	}
	m, err := selector.Compile(s.TargetSelector)
	if err != nil {
		return invalid
	}
	value, err := fleet.EncodeDesired(fleet.Desired{UID: uid, Score: s.Score})
	if err != nil {
		return invalid
	}
	return &target{matcher: m, value: string(value)}
}

func (t *targets) quarantined(spec string) bool {
	q, known := t.devices[spec]
	if !known {
		var s struct {
			Quarantined bool `json:"quarantined"`
		}
		q = json.Unmarshal([]byte(spec), &s) == nil && s.Quarantined
		t.devices[spec] = q
	}
	return q
}

// resourceOf returns what a write left, nil for nothing.
func (t *targets) resourceOf(w *record.Write) *resource {
	if w.Kind == record.WriteDeleted {
		return nil
	}
	r := &resource{uid: w.UID, generation: w.Generation, deleting: w.Deleting}
	r.carried = w.Deleting || slices.Contains(w.Finalizers, fleet.FinalizerDesiredState)
	if w.Resource == fleet.KindDevice {
		r.carried = w.Deleting || r.carried && slices.Contains(w.Finalizers, fleet.FinalizerDeviceData)
		r.labels, r.quarantined = w.Labels, t.quarantined(string(w.Spec))
		return r
	}
	r.target = t.get(w.UID, string(w.Spec))
	if t.generated[w.UID] == nil {
		t.generated[w.UID] = map[int64]*target{}
	}
	t.generated[w.UID][w.Generation] = r.target
	return r
}

// lines are the states of resources over time, by kind and name.
type lines map[string]line

// line is the states of one resource over time, oldest first. The first state has no beginning.
type line []state

// state is what a resource was from a time on.
type state struct {
	from   time.Time
	unsure bool // it is not known what it was
	is     *resource
	gone   fleet.TombstoneCause // of one that is absent: how it went; "" when nobody said so
}

// deleted reports whether a person deleted the resource.
func (s state) deleted() bool {
	return s.is != nil && s.is.deleting || s.is == nil && s.gone == fleet.TombstoneDeleted
}

func lineOf(kind, name string) string { return kind + "/" + name }

// splitLine is the inverse of lineOf.
func splitLine(key string) (kind, name string) {
	kind, name, _ = strings.Cut(key, "/")
	return kind, name
}

func (l line) now() state { return l[len(l)-1] }

// during returns the states in a time, both ends included; nil when nothing is known of the resource.
func (l line) during(from, to time.Time) line {
	first := sort.Search(len(l), func(i int) bool { return l[i].from.After(from) })
	end := sort.Search(len(l), func(i int) bool { return l[i].from.After(to) })
	return l[max(first-1, 0):end]
}

// add appends a state unless it is the present one.
func (l line) add(s state) line {
	if n := len(l); n > 0 && !l[n-1].unsure && !s.unsure && l[n-1].is.same(s.is) && l[n-1].gone == s.gone {
		return l
	}
	return append(l, s)
}

// apiLines follows the resources at the apiserver. A list tells what is, and not since when: when it differs
// from what was known, what was in between is unsure.
func apiLines(events record.Recording, t *targets) lines {
	all := lines{}
	type seen struct {
		at      time.Time
		version string
	}
	last := map[string]seen{}
	for _, e := range events {
		w := e.Write
		if w == nil {
			continue
		}
		key := lineOf(w.Resource, w.Name)
		is, before := t.resourceOf(w), last[key]
		l := all[key]
		switch {
		case l == nil:
			l = line{{unsure: w.Kind != record.WriteAdded}}
		case w.Kind == record.WriteListed && (before.version != w.ResourceVersion || !l.now().is.same(is)):
			l = l.add(state{from: before.at, unsure: true})
		}
		all[key] = l.add(state{from: e.At, is: is, gone: goneBy(w, l.now())})
		last[key] = seen{e.At, w.ResourceVersion}
	}
	return all
}

// goneBy returns how a write made a resource go: it was deleted when it was seen to wait for its finalizers.
func goneBy(w *record.Write, before state) fleet.TombstoneCause {
	switch {
	case w.Kind != record.WriteDeleted:
		return ""
	case w.Deleting || !before.unsure && before.deleted():
		return fleet.TombstoneDeleted
	}
	return fleet.TombstoneVanished
}

// mirror returns the resources over time as the mirror had them. What nobody obeys, a message without epoch
// for one, changes nothing.
func (h *history) mirror() lines {
	if h.mirrored != nil {
		return *h.mirrored
	}
	all := lines{}
	h.mirrored = &all
	for i, s := range h.streams[fleet.BucketResources] {
		if i > 0 && len(s.ops) > 0 {
			for key := range all {
				all[key] = all[key].add(state{from: s.ops[0].at, unsure: true})
			}
		}
		for _, o := range s.ops {
			key, now := h.targets.mirrored(&o)
			if key == "" {
				continue
			}
			if all[key] == nil {
				all[key] = line{{unsure: i > 0 || o.unseen > 0}}
			}
			all[key] = all[key].add(now)
		}
	}
	return all
}

// mirrored returns what a message of the mirror says of a resource. The key is empty when it says nothing.
func (t *targets) mirrored(o *operation) (key string, now state) {
	name, err := fleet.ParseResourceKey(o.Key)
	if err != nil || o.Epoch == 0 && o.Kind != record.OpExpire {
		return "", state{}
	}
	now.from = o.at
	if name.Device != "" {
		key = lineOf(fleet.KindDevice, string(name.Device))
	} else {
		key = lineOf(fleet.KindDeployment, string(name.Deployment))
	}
	switch {
	case o.Kind != record.OpPut:
	case name.Device != "":
		mirroredDevice(o.Value, &now)
	default:
		t.mirroredDeployment(o.Value, &now)
	}
	return key, now
}

func mirroredDevice(value string, now *state) {
	d, err := fleet.DecodeMirrorDevice([]byte(value))
	if now.entombed(d.Tombstone, err) {
		return
	}
	now.is = &resource{
		uid: d.UID, generation: d.Generation, deleting: d.Deleting, quarantined: d.Quarantined, carried: d.Invalid == "", labels: d.Labels,
	}
}

func (t *targets) mirroredDeployment(value string, now *state) {
	d, err := fleet.DecodeMirrorDeployment([]byte(value))
	if now.entombed(d.Tombstone, err) {
		return
	}
	tg := t.get(d.UID, value)
	if d.Invalid != "" {
		tg = &target{invalid: true}
	}
	now.is = &resource{uid: d.UID, generation: d.Generation, deleting: d.Deleting, carried: true, target: tg}
}

// entombed reports whether an entry of the mirror shows no resource: it cannot be read, or is a tombstone.
func (s *state) entombed(t *fleet.Tombstone, err error) bool {
	switch {
	case err != nil:
		s.unsure = true
	case t != nil:
		s.gone = t.Cause
	default:
		return false
	}
	return true
}

// wish is what is wanted of a pair.
type wish struct{ deployment, device, value string }

// constant reports whether the same was wanted of a pair in a whole time, and that is known.
func (l lines) constant(pair fleet.Pair, from, to time.Time) bool {
	ps := l[lineOf(fleet.KindDeployment, string(pair.Deployment))].during(from, to)
	ds := l[lineOf(fleet.KindDevice, string(pair.Device))].during(from, to)
	var wanted *wish
	for _, p := range ps {
		for _, d := range ds {
			w, ok := wishOf(p, d)
			if !ok || wanted != nil && *wanted != w {
				return false
			}
			wanted = &w
		}
	}
	return wanted != nil
}

func wishOf(p, d state) (w wish, known bool) {
	if p.unsure || d.unsure {
		return w, false
	}
	if p.is != nil {
		w.deployment = p.is.uid
	}
	if d.is != nil {
		w.device = d.is.uid
	}
	switch placeOf(p.is, d.is) {
	case kept:
		return w, false
	case inside:
		w.value = p.is.target.value
	case outside:
	}
	return w, true
}
