package invariant

import (
	"slices"
	"time"

	"harmony.dev/e2e/record"
)

// ackSlack is how late the recorder may read what was acknowledged.
const ackSlack = 5 * time.Second

// audit: a put of the scenario that the server acknowledged is in the bucket's stream at the acknowledged revision,
// with its key and value, or it is superseded: a later message stands under the same key. (Scenario 23: no
// acknowledged report is lost.)
//
// Exempt is a put after which the bucket was lost, emptied or restored, or that was acknowledged so shortly before
// the end of the recording that it may not have been read. Of a revision that was read in no incarnation, as it
// was overwritten, a later message under the key is enough; that of a key's last message is always read.
func audit(h *history) []Violation {
	var found []Violation
	keys := map[written][]operation{} // of the last incarnations; revision 0: all of a key
	for bucket, streams := range h.streams {
		for _, o := range streams[len(streams)-1].ops {
			k := written{bucket: bucket, key: o.Key}
			keys[k] = append(keys[k], o)
		}
	}
	for i, e := range h.events {
		a := e.Ack
		if a == nil || h.lost(a.Bucket, e.At.Add(-lossSlack), h.end) || h.end.Sub(e.At) < ackSlack {
			continue
		}
		if message := lostAck(a, keys[written{bucket: a.Bucket, key: a.Key}]); message != "" {
			found = append(found, violation(i, "%s: put of %s, acknowledged at revision %d, %s", a.Bucket, a.Key, a.Revision, message))
		}
	}
	return found
}

// lostAck says what became of an acknowledged put, "" when nothing is wrong.
func lostAck(a *record.Ack, ops []operation) string {
	at := slices.IndexFunc(ops, func(o operation) bool { return o.Revision >= a.Revision })
	switch {
	case at < 0:
		return "is lost: neither it nor a later message of the key is in the stream"
	case ops[at].Revision == a.Revision && (ops[at].Kind != record.OpPut || ops[at].Value != a.Value):
		return text("is not what stands there: %.100q instead of %.100q", ops[at].Value, a.Value)
	}
	return ""
}
