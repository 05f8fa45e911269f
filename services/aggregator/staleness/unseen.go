package staleness

import (
	"cmp"
	"slices"
	"time"
)

// Beat is the last heartbeat of one device: where it stands in its stream.
type Beat struct {
	Revision uint64
	At       time.Time
}

// Gap is a time in which nobody was heard of: after Before, until After.
type Gap struct{ Before, After time.Time }

// Unseen finds a silence that ended while nobody looked, shortly before the newest stamp of the fleet.
// It is asked once each time the sources come into view; beats are in any order and get sorted.
//
// The bucket keeps only the last heartbeat of each device, so an old stamp may be of a device that died
// alone or of one that has not spoken again yet after everybody was cut off. The revisions tell which:
// the devices that are back would have stored one heartbeat each in every interval, and what was stored
// since, and overwritten, has used up revisions. Where less than half of those are missing between two
// stamps, nobody was storing any.
func Unseen(c Config, newest time.Time, beats []Beat) (g Gap, ok bool) {
	if len(beats) == 0 {
		return Gap{}, false
	}
	slices.SortFunc(beats, func(a, b Beat) int { return cmp.Compare(a.Revision, b.Revision) })
	last := len(beats) - 1
	if newest.Sub(beats[last].At) > c.patience() {
		return Gap{Before: beats[last].At, After: newest}, true // they speak again, but no heartbeat has come
	}
	for i := last; i > 0; i-- {
		before, after := beats[i-1], beats[i]
		length := after.At.Sub(before.At)
		if length <= c.patience() {
			continue
		}
		back := len(beats) - i
		stored := after.Revision - before.Revision - 1
		expected := float64(back) * float64(length) / (1.2 * float64(c.Interval))
		return Gap{Before: before.At, After: after.At}, float64(stored) < expected/2
	}
	return Gap{}, false
}
