package view

import (
	"time"

	"harmony.dev/fleet/kv"
)

// loss tells whether a bucket has lost much of what was in view, although it was not created again, or was with old
// content: it was purged, or restored from a backup, which may be of a time before it was created last. Keys that are none
// of the bucket are no loss. It belongs to the goroutine of the bucket's reflector.
type loss struct {
	created   time.Time // the bucket, in the last pass
	recreated bool      // the loss is told by that alone
	restored  bool      // as this pass has found, or one before it that did not come to its end
	put, gone int       // values that the pass has brought, and those that it missed
}

// fraction of a bucket whose loss is great.
const fraction = 5

func (l *loss) begin(p kv.Pass) {
	recreated := !l.created.IsZero() && p.Created.After(l.created)
	*l = loss{created: p.Created, recreated: recreated, restored: !recreated && (p.NewIncarnation || l.restored)}
}

// end says that the pass has come to its end, and what it told was heard.
func (l *loss) end() { l.restored = false }

// count takes note of n more messages like this one. A marker that has gone is no loss: the value had gone before, and
// somebody had done that.
func (l *loss) count(m kv.Message, n int) {
	switch m.Op {
	case kv.Put:
		l.put += n
		if l.recreated && m.Time.Before(l.created) {
			l.recreated, l.restored = false, true // what is older than its stream was put there by a person
		}
	case kv.Swept:
		if !m.Marker {
			l.gone += n
		}
	case kv.Delete, kv.Purge, kv.Expired: // somebody did that to one key
	}
}

// great is asked at the end of a pass.
func (l *loss) great() bool {
	return !l.recreated && (l.restored || l.gone > 0 && l.gone*fraction >= l.gone+l.put)
}
