package dashboard

import (
	"os"
	"syscall"
	"testing"
	"time"

	"harmony.dev/e2e/browser"
	"harmony.dev/e2e/lab"
)

// live is an expression for whether the page hears from the dashboard.
const live = `document.documentElement.dataset.live`

// Fault:   the dashboard itself hangs, and is killed.
// Promise: pages say that what they show is from before, also to who cannot see; when the dashboard is back they are live
// again by themselves, and show what has changed meanwhile.
// Budget:  3 s.
func TestLost_ThePageSaysSo(t *testing.T) {
	s := newSmallSite(t, lab.Options{Shipped: true})
	u := s.serve()
	pages := []*browser.Page{u.page("/", browser.Options{}), u.page("/deployments/coast", browser.Options{Dark: true})}
	for _, p := range pages {
		p.Forgive(`net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE)`)
		p.Becomes(within, browser.Shown("#lost"), false)
	}
	for _, c := range []struct {
		name       string
		hurt, mend func()
		wish       string // for meanwhile
	}{
		{"hangs", func() { u.signal(syscall.SIGSTOP) }, func() { u.signal(syscall.SIGCONT) }, "one"},
		{"killed", u.kill, u.start, "two"},
	} {
		for _, p := range pages {
			p.Becomes(within, live, "on")
		}
		began := time.Now()
		c.hurt()
		for _, p := range pages {
			p.Becomes(within, live, "lost")
			p.Becomes(within, browser.Shown("#lost"), true)
		}
		s.Measured("dashboard "+c.name+": told", time.Since(began), toldWithin)
		for _, p := range pages {
			p.Becomes(within, browser.Attr("#lost", "role"), "alert")
			p.Accessible()
		}
		s.apply(c.wish, `{"image":"demo:1"}`, "north")
		s.settled(c.wish, 6, 6, 0, 0, 0)
		mended := time.Now()
		c.mend()
		for _, p := range pages {
			p.Becomes(within, live, "on")
			p.Becomes(within, browser.Shown("#lost"), false)
		}
		s.Measured("dashboard "+c.name+": live again", time.Since(mended), 0)
		pages[0].Becomes(within, browser.Text("#dep-"+c.wish+" td.running"), "6")
	}
}

// A dashboard ends when it is told to, though pages are open.
func TestDashboard_EndsWhenItIsTold(t *testing.T) {
	s := newSite(t, lab.Options{Shipped: true}, 1)
	u := s.serve()
	p := u.page("/", browser.Options{})
	p.Forgive(`net::ERR_`)
	began := time.Now()
	u.signal(syscall.SIGTERM)
	select {
	case <-u.proc.Done():
	case <-time.After(within):
		t.Fatal("it does not end")
	}
	s.Measured("dashboard ended after SIGTERM with a page open", time.Since(began), toldWithin)
	if err := u.proc.Err(); err != nil {
		text, _ := os.ReadFile(u.log)
		t.Errorf("it ended with %v:\n%s", err, text)
	}
}
