package herald

import (
	"cmp"
	"slices"
	"time"

	"harmony.dev/services/patcher/status"
)

// transition is what a Deployment went through.
type transition struct {
	name, uid string
	from, to  status.Stage
	due       time.Time // when it has lasted
	by        time.Time // when it is told at the latest, however often it changes
}

// waiting are the transitions that are not told yet, at most one of each Deployment.
type waiting struct {
	most  int // of them
	byUID map[string]*transition
}

func newWaiting(most int) *waiting { return &waiting{most: most, byUID: map[string]*transition{}} }

// note takes in a step. It reports false when there is no room for it. One to another stage has to last anew.
func (w *waiting) note(step transition) bool {
	if t := w.byUID[step.uid]; t != nil {
		if !t.to.Like(step.to) {
			t.due = earlier(step.due, t.by)
		}
		t.to = step.to
		return true
	}
	if len(w.byUID) >= w.most {
		return false
	}
	w.byUID[step.uid] = &step
	return true
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// take returns the transitions that are due and news, the oldest first, at most n, and forgets them.
func (w *waiting) take(now time.Time, n int) []transition {
	var due []*transition
	for uid, t := range w.byUID {
		switch {
		case now.Before(t.due):
		case len(status.Tell(t.from, t.to)) == 0:
			delete(w.byUID, uid)
		default:
			due = append(due, t)
		}
	}
	slices.SortFunc(due, func(a, b *transition) int {
		return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.uid, b.uid))
	})
	taken := make([]transition, 0, min(n, len(due)))
	for _, t := range due[:min(n, len(due))] {
		taken = append(taken, *t)
		delete(w.byUID, t.uid)
	}
	return taken
}
