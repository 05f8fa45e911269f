package plan

import (
	"slices"
	"time"

	"harmony.dev/fleet"
)

// Plan is what desired-state lacks. Its groups are written in order, each before its applied record,
// the hold after all of them.
type Plan struct {
	Groups   []Group             // sorted by Deployment; only those with something to write
	Hold     *Change[fleet.Hold] // nil means that the hold stays as it is
	Waiting  []Delete            // doubtful deletes that wait for a quiet mirror
	Held     []Delete            // doubtful deletes that wait for a person
	Blocked  []Delete            // deletes for which the mirror cannot be trusted now
	Releases []Release           // finalizers that nothing needs any more
	Wake     time.Time           // when waiting alone changes the plan; zero means never
}

// Group is what is to be written for one Deployment.
type Group struct {
	Deployment fleet.DeploymentName
	Puts       []Assignment           // sorted by device
	Deletes    []Delete               // sorted by device
	Applied    *Change[fleet.Applied] // the last write of the group; nil means that the record stays as it is
	Regressed  bool                   // the resource is older than what was applied
}

// Assignment is a key to put.
type Assignment struct {
	Pair  fleet.Pair
	Value *Value
}

// Delete is a key to delete.
type Delete struct {
	Pair  fleet.Pair
	Cause fleet.Cause
}

// Change replaces a record; a nil Value deletes it.
type Change[T any] struct{ Value *T }

// Release is a finalizer to be taken off a resource that is being deleted and has no key left.
type Release struct {
	Kind string // fleet.KindDeployment or fleet.KindDevice
	Name string
	UID  string
}

// Empty reports whether nothing is to be written.
func (p *Plan) Empty() bool { return len(p.Groups) == 0 && p.Hold == nil }

// Counts returns how many keys are to be put and to be deleted.
func (p *Plan) Counts() (puts, deletes int) {
	for i := range p.Groups {
		puts += len(p.Groups[i].Puts)
		deletes += len(p.Groups[i].Deletes)
	}
	return puts, deletes
}

// Doubtful reports whether the plan goes by what may be lost truth: it deletes for such a cause, or brings back
// something older.
func (p *Plan) Doubtful() bool {
	return slices.ContainsFunc(p.Groups, func(g Group) bool {
		return g.Regressed || slices.ContainsFunc(g.Deletes, func(d Delete) bool { return d.Cause.Doubtful() })
	})
}

// empty reports whether the group writes nothing.
func (g *Group) empty() bool { return len(g.Puts) == 0 && len(g.Deletes) == 0 && g.Applied == nil }
