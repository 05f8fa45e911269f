// Package resync decides which agents to ask to send everything again.
//
// A [Schedule] asks the devices from which something is missing, each with growing pauses. An
// [Announcer] asks all of them once after a bucket of theirs was created anew.
package resync

import (
	"iter"
	"time"

	"harmony.dev/fleet"
)

// Config says how patient to be.
type Config struct {
	First time.Duration // how long something is missing before the first request
	Most  time.Duration // the longest pause between two requests to a device
}

// Schedule remembers who was asked, and when to ask again.
type Schedule struct {
	config Config
	asked  map[fleet.DeviceID]*ask
}

type ask struct {
	next  time.Time
	pause time.Duration
	still bool // the device is missing something now
}

// NewSchedule returns a Schedule that has asked nobody.
func NewSchedule(c Config) *Schedule {
	return &Schedule{config: c, asked: map[fleet.DeviceID]*ask{}}
}

// Due returns at most n of the devices that something is missing from and whose time has come, and takes
// note that they are asked now. A device that is no longer missing anything is forgotten.
func (s *Schedule) Due(now time.Time, missing iter.Seq[fleet.DeviceID], n int) []fleet.DeviceID {
	var due []fleet.DeviceID
	for id := range missing {
		a := s.asked[id]
		if a == nil {
			a = &ask{next: now.Add(s.config.First), pause: s.config.First}
			s.asked[id] = a
		}
		a.still = true
		if len(due) < n && !now.Before(a.next) {
			a.pause = min(2*a.pause, s.config.Most)
			a.next = now.Add(a.pause)
			due = append(due, id)
		}
	}
	for id, a := range s.asked {
		if !a.still {
			delete(s.asked, id)
		}
		a.still = false
	}
	return due
}
