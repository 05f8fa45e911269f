package kv

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestClock_GoesOnFromTheNewestStamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock(time.Now)
		if !c.Now().Equal(time.Now()) {
			t.Error("without a stamp it is the own clock")
		}
		server := time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC) // the own clock is far off
		c.Observe(server)
		time.Sleep(time.Minute)
		c.Observe(server.Add(-time.Hour)) // an old message, read again
		c.Observe(time.Time{})            // one without a stamp
		if got := c.Now(); !got.Equal(server.Add(time.Minute)) {
			t.Errorf("got %s", got)
		}
		c.Observe(server.Add(59 * time.Second)) // newer, but it was a second under way
		if got := c.Now(); !got.Equal(server.Add(59 * time.Second)) {
			t.Errorf("got %s", got)
		}
	})
}

func TestClock_RecalledStampsNeverSetItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock(time.Now)
		server := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC) // the own clock is far off
		if c.Recall(time.Time{}); c.Known() {
			t.Error("known without a stamp")
		}
		for _, stamp := range []time.Duration{0, time.Hour, time.Minute} {
			c.Recall(server.Add(stamp))
		}
		time.Sleep(time.Minute)
		c.Recall(server.Add(time.Hour + 59*time.Second)) // stored a second ago
		if got := c.Now(); !c.Known() || !got.Equal(server.Add(time.Hour+time.Minute)) {
			t.Errorf("got %s", got)
		}
		c.Recall(server.Add(2 * time.Hour))
		if got := c.Now(); !got.Equal(server.Add(2 * time.Hour)) {
			t.Errorf("got %s", got)
		}
	})
}
