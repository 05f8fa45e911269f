package staleness

import "time"

// Config says how patient to be.
type Config struct {
	Interval     time.Duration // between two heartbeats of a device
	StaleAfter   time.Duration // at least 3 intervals
	SilenceAfter time.Duration // of own synced time, until a silent fleet counts as silent devices
	Few          int           // a fleet of fewer devices counts as silent after StaleAfter
}

// Defaults of the Config.
const (
	DefaultInterval     = 30 * time.Second
	DefaultStaleAfter   = 90 * time.Second
	DefaultSilenceAfter = 5 * time.Minute
	DefaultFew          = 5
)

// maxStep is how much time one look may stand for. A process that was stopped did not listen meanwhile.
const maxStep = 10 * time.Second

// Fleet is what has been heard of the devices.
type Fleet struct {
	Newest time.Time // greatest lastSeen, zero when there is none
	Known  int       // devices that have been heard of
}

// Verdict is the judgement at one time.
type Verdict struct {
	Cutoff    time.Time     // a device last seen before it is stale; zero: none is
	Reference time.Time     // the reference time
	Hushed    bool          // nobody was heard of for more than 1.5 intervals
	Silent    bool          // … and for so long that the devices count as silent
	Ending    bool          // such a silence ended less than StaleAfter ago: the devices are still coming back
	Quiet     time.Duration // own synced time since somebody was heard of
	// Undecided is true of a hushed fleet of which nobody was heard of since the start, until it counts
	// as silent. Whether the devices fell silent long ago cannot be told yet.
	Undecided bool
}

// Incident reports whether devices that are stale may be so because of a silence of the whole fleet: it
// lasts, or they have not had the time to speak since it ended.
func (v Verdict) Incident() bool { return v.Silent || v.Ending }

// Judge forms verdicts. Create it with [NewJudge]. Its state is what it has seen before: the time that
// the fleet has been quiet, and who got a respite when a silence ended.
type Judge struct {
	config Config

	looked  bool // since the last Pause
	at      time.Time
	newest  time.Time
	quiet   time.Duration
	decided bool // somebody was heard of since the first Look, or the fleet was silent
	last    Verdict
	ended   time.Time // stamp that ended the last silence in which the devices counted as silent
	respite respite
}

// respite is given when a silence ends: devices last seen at cut or later count as seen at from.
type respite struct{ cut, from time.Time }

// NewJudge returns a Judge that has seen nothing.
func NewJudge(c Config) *Judge { return &Judge{config: c} }

// Pause says that the sources are out of view: the time until the next Look does not count.
func (j *Judge) Pause() { j.looked = false }

// Look judges at the time now. The sources must be in view.
func (j *Judge) Look(now time.Time, f Fleet) Verdict {
	heard := f.Newest.After(j.newest)
	if heard && !j.newest.IsZero() {
		j.decided = true
		if j.last.Silent {
			j.ended = f.Newest
		}
		if j.endsSilence(f.Newest) {
			j.spare(j.last.Cutoff, f.Newest)
		}
	}
	j.pass(now, heard)
	j.at, j.newest, j.looked = now, f.Newest, true
	j.last = j.judge(now, f)
	return j.last
}

// endsSilence reports whether nobody was heard of for long before this stamp. The stamps alone tell, so
// that no clock which is wrong makes a silence of every pause. What passed while nobody looked is for
// [Unseen] to judge, unless the fleet was hushed before.
func (j *Judge) endsSilence(stamp time.Time) bool {
	return (j.looked || j.last.Hushed) && stamp.Sub(j.newest) > j.config.patience()
}

// Spare gives the devices that were not yet stale when a silence began, which [Unseen] has found, time
// to speak.
func (j *Judge) Spare(g Gap) {
	cut := g.Before.Add(j.config.patience() - j.config.StaleAfter)
	if j.last.Cutoff.After(cut) {
		cut = j.last.Cutoff // who was stale before remains so
	}
	j.spare(cut, g.After)
	j.last.Hushed = false // this silence is dealt with
}

func (j *Judge) spare(cut, from time.Time) { j.respite = respite{cut: cut, from: from} }

// pass counts the time in which nobody was heard of.
func (j *Judge) pass(now time.Time, heard bool) {
	switch step := now.Sub(j.at); {
	case heard:
		j.quiet = 0
	case j.looked && step > 0:
		j.quiet += min(step, maxStep)
	}
}

func (j *Judge) judge(now time.Time, f Fleet) Verdict {
	if f.Known == 0 {
		return Verdict{Reference: now, Quiet: j.quiet}
	}
	v := Verdict{Reference: now, Quiet: j.quiet}
	if until := f.Newest.Add(j.config.patience()); until.Before(now) {
		v.Hushed = true
		v.Silent = j.quiet >= j.config.silenceAfter(f.Known)
		if !v.Silent {
			v.Reference = until
		}
	}
	v.Ending = !v.Silent && !j.ended.IsZero() && now.Sub(j.ended) <= j.config.StaleAfter
	j.decided = j.decided || v.Silent
	v.Undecided = v.Hushed && !j.decided
	v.Cutoff = j.respite.apply(v.Reference.Add(-j.config.StaleAfter))
	return v
}

// apply lowers a cutoff so that the spared devices are not stale before their time. With lastSeen ≥ cut
// counting as max(lastSeen, from), all of them are fresh until the cutoff has passed from.
func (r respite) apply(cutoff time.Time) time.Time {
	if !cutoff.After(r.from) && r.cut.Before(cutoff) {
		return r.cut
	}
	return cutoff
}

// patience is how long after the last message of anybody the fleet may be quiet without a meaning.
func (c Config) patience() time.Duration { return c.Interval * 3 / 2 }

func (c Config) silenceAfter(known int) time.Duration {
	if known < c.Few {
		return c.StaleAfter
	}
	return c.SilenceAfter
}
