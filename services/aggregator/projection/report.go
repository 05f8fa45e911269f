package projection

import "harmony.dev/fleet"

// PutReport takes in the last report of a pair, in stream order. The report must be valid. It returns
// [ErrUnclaimed] when it is not kept.
func (s *State) PutReport(id fleet.Pair, r fleet.Report, at Origin) error {
	p := s.keeper(id, at)
	if p == nil {
		return ErrUnclaimed
	}
	p.report = reportOf(r)
	s.reported(p, at)
	return nil
}

// SpoilReport takes note of a malformed report: the last good one is kept, and the device was heard of.
func (s *State) SpoilReport(id fleet.Pair, at Origin) {
	if p := s.keeper(id, at); p != nil {
		p.report.spoiled, p.report.foreign = true, at.At.IsZero()
		s.reported(p, at)
	}
}

// DropReport takes note that there is no report of the pair.
func (s *State) DropReport(id fleet.Pair) {
	d := s.devices[id.Device]
	if d == nil {
		return
	}
	if _, spare := d.spares[id.Deployment]; spare {
		s.dropSpare(d, id.Deployment)
		s.dismiss(d)
		s.forgetDevice(d)
		return
	}
	p := s.lookup(id)
	if p == nil || !p.reportAt.inView() {
		return
	}
	p.report = report{}
	s.reported(p, Origin{})
	s.forgetPair(p)
}

// DoubtReports says that the reports of up to this revision may not be the last ones of their devices: the bucket has
// lost what came after them, or some of it. Their pairs owe a report until a newer one comes; 0 ends all doubt. It
// touches every pair: it is called when a bucket was found to have lost much.
func (s *State) DoubtReports(upTo uint64) {
	if s.doubted == upTo {
		return
	}
	s.doubted = upTo
	for _, d := range s.devices {
		for _, p := range d.pairs {
			s.settle(p)
		}
	}
}

func (s *State) reported(p *pair, at Origin) {
	first := p.reportAt.inView() != (at.Revision != 0)
	was := p.tally // to be heard of may change it, too
	s.restamp(p.device, &p.reportAt, at)
	s.settle(p)
	if p.tally != was || p.tally.class == failed {
		p.deployment.await(stampOf(at.At)) // none when no device wrote it
	}
	if first && p.device.buried() {
		s.attend(p.device)
	}
}
