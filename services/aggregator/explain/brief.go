package explain

import (
	"maps"

	"harmony.dev/fleet"
)

// brief makes the inputs of many devices cheap to judge: it compiles the selector of their Deployment once, and leaves of it
// what the judgement of a device names, the first requirement that the device does not meet. The zero value is ready.
type brief struct {
	of       fleet.Selector // the one that is compiled
	compiled bool
	all      []requirement
	err      error
}

// input returns one of the same judgement. Where the selector cannot be compiled it is left as it is.
func (b *brief) input(in Input) Input {
	if s := in.Deployment.Selector; !b.compiled || !same(b.of, s) {
		b.of, b.compiled = s, true
		b.all, b.err = requirements(s)
	}
	if b.err != nil {
		return in
	}
	in.Deployment.Selector = fleet.Selector{}
	for _, r := range b.all {
		if !r.met(in.Device.Resource.Labels) {
			in.Deployment.Selector = r.only
			break
		}
	}
	return in
}

// same reports whether two selectors are one. Expressions that were made apart are two, for they may be large to compare.
func same(a, b fleet.Selector) bool {
	ea, eb := a.MatchExpressions, b.MatchExpressions
	return maps.Equal(a.MatchLabels, b.MatchLabels) && len(ea) == len(eb) && (len(ea) == 0 || &ea[0] == &eb[0])
}
