package fault

import (
	"net/http"
	"net/url"

	"harmony.dev/e2e/lab"
)

// Panic has a goroutine of a service panic, at a fault point of package service. The service was started with
// --enable-fault-points. Healed, it is started again.
type Panic struct {
	Instance *lab.Instance
	Point    string // a member of its run group, or another of its points
}

// Name implements [Fault].
func (Panic) Name() string { return "panic" }

// Target implements [Fault].
func (p Panic) Target() string { return p.Instance.ID() + " " + p.Point }

// Needs implements [Fault].
func (Panic) Needs() []lab.Ability { return nil }

// Inject implements [Fault].
func (p Panic) Inject(s *lab.Stack) {
	p.Instance.ExpectExit()
	ask := "http://" + p.Instance.HTTP() + "/fault/panic?point=" + url.QueryEscape(p.Point)
	req, err := http.NewRequestWithContext(s.T().Context(), http.MethodPost, ask, nil)
	if err != nil {
		s.T().Fatalf("ask %s to panic: %v", p.Instance.ID(), err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return // it is gone before it answered
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.T().Errorf("%s has no fault point %s: %s", p.Instance.ID(), p.Point, resp.Status)
	}
}

// Heal implements [Fault].
func (p Panic) Heal(*lab.Stack) { p.Instance.Start() }
