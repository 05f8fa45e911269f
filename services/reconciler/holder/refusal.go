package holder

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/reconciler/plan"
)

// refusedFor is how long a Deployment that could not be written is left out before it is tried again.
const refusedFor = 30 * time.Second

// refusals are the Deployments that cannot be written as they are: too large for the server, say.
type refusals struct {
	mu  sync.Mutex
	all map[fleet.DeploymentName]refusal
}

type refusal struct {
	text  string
	until time.Time
}

func (r *refusals) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = nil
}

func (r *refusals) add(name fleet.DeploymentName, err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[fleet.DeploymentName]refusal{}
	}
	r.all[name] = refusal{err.Error(), now.Add(refusedFor)}
}

func (r *refusals) clear(name fleet.DeploymentName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, name)
}

// has reports whether a Deployment was refused and wants the same still.
func (r *refusals) has(name fleet.DeploymentName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.all[name]
	return ok
}

// admit leaves out the groups that were refused lately, and says when the first of them is due again
// if that is before wake. Refusals of Deployments that want nothing any more are forgotten.
func (r *refusals) admit(groups []plan.Group, now, wake time.Time) ([]plan.Group, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 {
		return groups, wake
	}
	admitted, wanted := make([]plan.Group, 0, len(groups)), map[fleet.DeploymentName]refusal{}
	for _, g := range groups {
		x, refused := r.all[g.Deployment]
		if refused {
			wanted[g.Deployment] = x
		}
		if !refused || !now.Before(x.until) {
			admitted = append(admitted, g)
		} else if wake.IsZero() || x.until.Before(wake) {
			wake = x.until
		}
	}
	r.all = wanted
	return admitted, wake
}

func (r *refusals) reason() *fleet.Reason {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 {
		return nil
	}
	first := slices.Min(slices.Collect(maps.Keys(r.all)))
	return &fleet.Reason{
		Reason:  "WriteRefused",
		Message: fmt.Sprintf("%d Deployments cannot be written, among them %s: %s", len(r.all), first, r.all[first].text),
	}
}
