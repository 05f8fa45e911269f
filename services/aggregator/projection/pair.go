package projection

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"harmony.dev/fleet"
)

// pair is one Deployment on one device: desired, reported on, or both.
type pair struct {
	device     *device
	deployment *deployment
	wish       *wish // nil when not desired
	wishAt     stamp
	reportAt   origin
	report     report
	tally      tally // what it is counted as now
	slot       int32 // in deployment.pairs
	position   int32 // in deployment.failed
	unclaimed  *place[orphan]
}

// report is what is kept of a report. The zero value stands for none, or for a malformed one.
type report struct {
	hash    [sha256.Size]byte
	eventAt string   // the device's clock, as it wrote it
	failure *failure // of a failed one
	class   class    // running, failed or pending; none when there is no good report
	spoiled bool     // the last one was malformed
	foreign bool     // … and not of the device: there is no newer one of its own
}

type failure struct {
	at      time.Time
	message string
}

func (p *pair) setPosition(i int32) { p.position = i }

func (p *pair) id() fleet.Pair {
	return fleet.Pair{Device: p.device.id, Deployment: p.deployment.name}
}

// failedLater orders failed pairs by the time of their failure, then by device, greatest first.
func failedLater(a, b *pair) bool {
	if c := a.report.failure.at.Compare(b.report.failure.at); c != 0 {
		return c > 0
	}
	return a.device.id > b.device.id
}

// judge returns what the pair counts as: the heart of the projection.
// Reports of up to the revision that is doubted are waited for as if they were not there.
func (p *pair) judge(doubted uint64) tally {
	if p.wish == nil {
		return tally{}
	}
	unreported := !p.reportAt.heard()
	if p.device.stale {
		return tally{class: stale, last: p.reported(), unreported: unreported}
	}
	return tally{class: p.reported(), unreported: unreported, owes: p.device.known && p.owes(unreported, doubted)}
}

// owes reports whether the device has not said anything of the pair, or nothing that is not doubted.
func (p *pair) owes(unreported bool, doubted uint64) bool {
	return unreported || p.reportAt.revision <= doubted || p.report.foreign && doubted > 0
}

// reported returns the class by the report alone. A report about any other value than the desired one
// is pending, whatever its phase: no false success, no old failure.
func (p *pair) reported() class {
	trusted := p.wish.uid != "" && p.deployment.accepts(p.wish.uid)
	if !trusted || p.report.class == none || p.report.hash != p.wish.hash {
		return pending
	}
	return p.report.class
}

// settle counts the pair as what it is now.
func (s *State) settle(p *pair) {
	is, was := p.judge(s.doubted), p.tally
	if is != was {
		p.tally = is
		p.deployment.counts.add(was, -1)
		p.deployment.counts.add(is, +1)
		s.dirty[p.deployment] = struct{}{}
		s.count(p.device, was, is)
	}
	switch h := &p.deployment.failed; {
	case is.class == failed && p.position == gone:
		h.push(p)
	case is.class == failed:
		h.fix(p.position)
		s.dirty[p.deployment] = struct{}{}
	case p.position != gone:
		h.remove(p.position)
	}
	if is.unreported != was.unreported {
		s.attend(p.device)
	}
	s.orphans.admit(&p.unclaimed, unclaimed{p}, p.wish == nil && p.reportAt.inView())
}

// reportOf clones what it keeps: the strings of a decoded report share their memory.
func reportOf(r fleet.Report) report {
	out := report{eventAt: strings.Clone(r.LastEventAt), class: pending}
	if _, err := hex.Decode(out.hash[:], []byte(r.ObservedHash)); err != nil {
		return report{spoiled: true}
	}
	switch r.Phase {
	case fleet.PhaseRunning:
		out.class = running
	case fleet.PhaseFailed:
		out.class = failed
		out.failure = &failure{at: r.EventTime(), message: strings.Clone(fleet.ClipError(r.LastError))}
	case fleet.PhasePending:
	}
	return out
}
