package projection

import "harmony.dev/fleet"

// class is a fleet.Class in one byte. none: the pair is not desired and counts nowhere.
type class uint8

const (
	none class = iota
	running
	failed
	pending
	stale
)

func (c class) export() fleet.Class {
	switch c {
	case running:
		return fleet.ClassRunning
	case failed:
		return fleet.ClassFailed
	case pending:
		return fleet.ClassPending
	case stale:
		return fleet.ClassStale
	case none:
	}
	return ""
}

// tally is what a pair is counted as.
type tally struct {
	class class
	last  class // of a stale pair: what it would be if its device were not
	// unreported: no report at all is in view. owes: none that is not doubted, and its device is fresh, so one should come.
	unreported, owes bool
}

// counts is the sum of the tallies of a Deployment's pairs.
type counts struct {
	by   [stale + 1]int // by class
	last [stale + 1]int // stale pairs by last known class
	owed int
}

func (c *counts) add(t tally, n int) {
	if t.class == none {
		return
	}
	c.by[t.class] += n
	if t.class == stale {
		c.last[t.last] += n
	}
	if t.owes {
		c.owed += n
	}
}

func (c *counts) aggregate() fleet.Aggregate {
	return fleet.Aggregate{
		MatchedDeviceCount: c.by[running] + c.by[failed] + c.by[pending] + c.by[stale],
		Running:            c.by[running],
		Failed:             c.by[failed],
		Pending:            c.by[pending],
		Stale:              c.by[stale],
		StaleLastKnown: fleet.StaleLastKnown{
			Running: c.last[running],
			Failed:  c.last[failed],
			Pending: c.last[pending],
		},
	}
}
