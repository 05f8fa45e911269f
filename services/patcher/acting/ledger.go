package acting

import (
	"maps"
	"sync"
	"time"

	"harmony.dev/fleet"
)

const (
	// forgetAfter is for how long a resource that is gone keeps its entry. It can return under its uid, when
	// the apiserver is restored from a backup, and what was asked about it before must not come after that. No
	// request is under way for so long: senders wait seconds, and a write ends after [kube.Writer]'s limit.
	forgetAfter = 5 * time.Minute
	// ledgerRoom is how many entries there are before it is looked for ones to forget.
	ledgerRoom = 1024
)

// ledger remembers the last seq of each resource within an epoch of the sender. It starts over with each
// epoch and holds at most about twice as many entries as there are resources, and what went lately.
type ledger struct {
	live func() map[string]bool // the uids that there are

	mu    sync.Mutex
	epoch uint64
	last  map[string]entered // by uid
	room  int                // entries until the next look
}

// entered is the last request about a resource.
type entered struct {
	seq uint64
	at  time.Time
}

func newLedger(live func() map[string]bool) *ledger {
	return &ledger{live: live, last: map[string]entered{}, room: ledgerRoom}
}

// enter takes in a request. One that is older than the last is refused; the last again is a repetition
// whose reply was lost. Current reports whether an epoch is still the sender's: one that a newer epoch
// overtook between its check and here must not start the ledger over. A smaller number alone does not
// tell, for the sender's bucket may have been restored.
func (l *ledger) enter(epoch uint64, uid string, seq uint64, now time.Time, current func(epoch uint64) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch != l.epoch {
		if !current(epoch) {
			return fleet.Errorf(fleet.CodeGone, "EpochStale", "epoch %d was followed by a newer one: another replica holds the lease", epoch)
		}
		l.epoch = epoch
		clear(l.last)
	}
	if last := l.last[uid].seq; seq < last {
		return fleet.Errorf(fleet.CodeConflict, "SeqStale", "seq %d is older than %d, which was handled before", seq, last)
	}
	l.last[uid] = entered{seq, now}
	l.forget(now)
	return nil
}

// forget drops the entries of resources that are gone, now and then: looking costs as much as there are.
func (l *ledger) forget(now time.Time) {
	if len(l.last) < l.room {
		return
	}
	live := l.live()
	maps.DeleteFunc(l.last, func(uid string, e entered) bool {
		return !live[uid] && now.Sub(e.at) > forgetAfter
	})
	l.room = 2*len(l.last) + ledgerRoom
}
