package acting

import (
	"sync"

	"harmony.dev/fleet"
)

// ledger remembers the last seq of each resource within an epoch of the sender. It starts over with each
// epoch and holds one entry for each resource reported in it.
type ledger struct {
	mu    sync.Mutex
	epoch uint64
	last  map[string]uint64 // by uid
}

func newLedger() *ledger { return &ledger{last: map[string]uint64{}} }

// enter takes in a request. One that is older than the last is refused; the last again is a repetition
// whose reply was lost. Current reports whether an epoch is still the sender's: one that a newer epoch
// overtook between its check and here must not start the ledger over. A smaller number alone does not
// tell, for the sender's bucket may have been restored.
func (l *ledger) enter(epoch uint64, uid string, seq uint64, current func(epoch uint64) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch != l.epoch {
		if !current(epoch) {
			return fleet.Errorf(fleet.CodeGone, "EpochStale", "epoch %d was followed by a newer one: another replica holds the lease", epoch)
		}
		l.epoch = epoch
		clear(l.last)
	}
	if last := l.last[uid]; seq < last {
		return fleet.Errorf(fleet.CodeConflict, "SeqStale", "seq %d is older than %d, which was handled before", seq, last)
	}
	l.last[uid] = seq
	return nil
}
