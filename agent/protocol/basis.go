package protocol

import "harmony.dev/fleet"

// basis is up to where desired-state is known: a snapshot's sequence, and the last one seen of each
// key since. It ends with the connection or when something may have been missed.
type basis struct {
	valid bool
	asOf  uint64
	last  map[fleet.DeploymentName]uint64
}

func (b basis) known(d fleet.DeploymentName) uint64 { return max(b.asOf, b.last[d]) }

// old reports whether l is no news on this basis: a repetition, or from a stream that went back.
func (b basis) old(l Live) bool { return l.Sequence <= b.known(l.Deployment) }

// gap reports whether a message under the same key went missing before l.
func (b basis) gap(l Live) bool { return l.Previous > b.known(l.Deployment) }

func (b basis) saw(l Live) { b.last[l.Deployment] = l.Sequence }

// verdict is what a live message means for the knowledge of its key.
type verdict uint8

const (
	obeyPut    verdict = iota
	obeyDelete         // the reconciler deleted the key
	foreign            // somebody else wrote or deleted it: to be asked about, not obeyed
	expired            // the server dropped it: removes nothing
)

func judge(l Live) verdict {
	switch {
	case l.Op == Expired:
		return expired
	case l.Epoch == 0:
		return foreign
	case l.Op == Delete:
		return obeyDelete
	}
	return obeyPut
}
