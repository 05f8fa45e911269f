package fleet

import (
	"fmt"
	"strconv"
)

// Headers of KV messages.
const (
	// HeaderEpoch carries the fencing token under which a value was written, in decimal. A value of a
	// fenced bucket without it was written by somebody else: it is rewritten, never obeyed.
	HeaderEpoch = "Fleet-Epoch"
	// HeaderCause carries the [Cause] of a delete in desired-state.
	HeaderCause = "Fleet-Cause"
)

// FormatEpoch returns the text of a fencing token as [HeaderEpoch] carries it.
func FormatEpoch(epoch uint64) string { return strconv.FormatUint(epoch, 10) }

// ParseEpoch is the inverse of [FormatEpoch]. Zero is no epoch.
func ParseEpoch(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 || FormatEpoch(n) != s {
		return 0, fmt.Errorf("%w: %q is no epoch", ErrInvalid, s)
	}
	return n, nil
}

// Cause says why a desired-state key is deleted. The first that matches, in this order, is the cause.
type Cause string

// The causes. Those for which [Cause.Doubtful] is true may come from lost truth rather than from a
// person's wish: the brake counts them.
const (
	CauseDeleted     Cause = "deleted"     // the Deployment or Device is being deleted or has a tombstone that says so
	CauseQuarantined Cause = "quarantined" // the Device is set aside by a person
	CauseVanished    Cause = "vanished"    // the resource is gone without having been deleted, or has another uid
	CauseEdited      Cause = "edited"      // the Deployment has a newer generation than the applied one
	CauseRegressed   Cause = "regressed"   // the Deployment has an older generation than the applied one
	CauseRelabelled  Cause = "relabelled"  // the device's labels changed
)

// Doubtful reports whether deletes of this cause wait for a quiet mirror and count for the brake.
func (c Cause) Doubtful() bool {
	return c == CauseVanished || c == CauseRegressed || c == CauseRelabelled
}
