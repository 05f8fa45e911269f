// Package resync decides which agents to ask to send everything again.
//
// A [Schedule] asks the devices from which something is missing, each with growing pauses. An
// [Announcer] asks all of them once after a bucket of theirs was created anew or emptied.
package resync

import (
	"container/heap"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
)

// Config says how patient to be.
type Config struct {
	First time.Duration // how long something is missing before the first request
	Most  time.Duration // the longest pause between two requests to a device
}

// Schedule remembers who was asked, and when to ask again. The projection is locked while it looks, so it looks
// only at those whose time has come: the projection has the devices that were never asked in the order in
// which they came, the Schedule those that were in the order of their next request.
type Schedule struct {
	config Config
	start  time.Time
	came   projection.Turns
	asked  asks
}

// ask is a device that was asked.
type ask struct {
	device projection.Asking
	next   time.Duration // since the start
	pause  time.Duration
}

// NewSchedule returns a Schedule that has asked nobody.
func NewSchedule(c Config) *Schedule { return &Schedule{config: c} }

// Due returns at most n of the devices that something is missing from and whose time has come, and takes
// note that they are asked now. A device that is no longer missing anything is forgotten.
func (s *Schedule) Due(now time.Time, p *projection.State, n int) []fleet.DeviceID {
	if s.start.IsZero() {
		s.start = now
	}
	at := now.Sub(s.start)
	s.came.Note(p.LastAsking(), at)
	var due []fleet.DeviceID
	for _, d := range p.TakeAsking(s.came.Until(at-s.config.First), n) {
		due = append(due, d.Device)
		heap.Push(&s.asked, s.following(ask{device: d, pause: s.config.First}, at))
	}
	return s.repeat(at, p, due, n)
}

// repeat adds those that were asked before and are to be asked again, up to n.
func (s *Schedule) repeat(at time.Duration, p *projection.State, due []fleet.DeviceID, n int) []fleet.DeviceID {
	for len(due) < n && len(s.asked) > 0 && s.asked[0].next <= at {
		a := s.asked[0]
		if !p.StillAsking(a.device) {
			heap.Pop(&s.asked)
			continue
		}
		due = append(due, a.device.Device)
		s.asked[0] = s.following(a, at)
		heap.Fix(&s.asked, 0)
	}
	return due
}

// following returns when a device is asked again that is asked now.
func (s *Schedule) following(a ask, at time.Duration) ask {
	a.pause = min(2*a.pause, s.config.Most)
	a.next = at + a.pause
	return a
}

// asks is a heap, the next one on top.
type asks []ask

// Len implements heap.Interface.
func (h asks) Len() int { return len(h) }

// Less implements heap.Interface.
func (h asks) Less(i, j int) bool { return h[i].next < h[j].next }

// Swap implements heap.Interface.
func (h asks) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *asks) Push(a any) { *h = append(*h, a.(ask)) }

// Pop implements heap.Interface.
func (h *asks) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
