package resync

import "time"

// recent is how young a bucket is that was created anew while nobody looked, and how long a request to
// all remains worth sending.
const recent = 2 * time.Minute

// Announcer remembers the incarnations of the agents' buckets.
type Announcer struct {
	created map[string]time.Time
	until   time.Time // a bucket was created anew or emptied before our eyes; zero: none was
	suspect time.Time // a bucket was young when it was first seen; zero: none was
}

// NewAnnouncer returns an Announcer that knows no bucket.
func NewAnnouncer() *Announcer { return &Announcer{created: map[string]time.Time{}} }

// Note takes in when a bucket was created.
func (a *Announcer) Note(now time.Time, bucket string, created time.Time) {
	was, known := a.created[bucket]
	a.created[bucket] = created
	switch {
	case known && !was.Equal(created):
		a.until = now.Add(recent)
	case !known && now.Sub(created) < recent:
		a.suspect = now.Add(recent)
	}
}

// Lost takes note that a bucket was emptied although it was not created anew.
func (a *Announcer) Lost(now time.Time) { a.until = now.Add(recent) }

// Due reports whether all agents are to be asked now. A bucket that was young when it was first seen may
// have been lost before, or be a new fleet's: it counts only when something is missing. So the restart
// of a service alone makes no agent write.
func (a *Announcer) Due(now time.Time, missing bool) bool {
	return now.Before(a.until) || missing && now.Before(a.suspect)
}

// Done takes note that they were.
func (a *Announcer) Done() { a.until, a.suspect = time.Time{}, time.Time{} }
