package acting

import (
	"context"
	"errors"
	"time"

	"harmony.dev/services/aggregator/view"
)

// errBlind ends a term whose holder cannot see.
var errBlind = errors.New("the sources are not in view: another replica may see them")

// sight watches whether the sources are in view.
type sight struct {
	view  *view.View
	after time.Duration
	seen  time.Time // own clock: when they were in view last
}

func newSight(h *Holder) *sight {
	return &sight{view: h.cfg.View, after: h.cfg.HandBackAfter, seen: time.Now()}
}

// tick returns errBlind once they have been out of view for too long in a row.
func (s *sight) tick(context.Context) error {
	switch {
	case s.view.InView():
		s.seen = time.Now()
	case time.Since(s.seen) >= s.after:
		return errBlind
	}
	return nil
}
