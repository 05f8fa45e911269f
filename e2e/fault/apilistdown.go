package fault

import (
	"net/http"

	"harmony.dev/e2e/lab"
)

// APIListDown is [APIDown] in the middle of the apiserver being read: from its answer to the next list on.
type APIListDown struct{ Patcher *lab.Instance }

// Name implements [Fault].
func (APIListDown) Name() string { return "apiserver-down-at-list" }

// Target implements [Fault].
func (f APIListDown) Target() string { return f.Patcher.ID() }

// Needs implements [Fault].
func (APIListDown) Needs() []lab.Ability { return []lab.Ability{lab.Proxies} }

// Inject implements [Fault].
func (f APIListDown) Inject(s *lab.Stack) {
	f.Patcher.Kube.OnDone(func(r *http.Request, _ int) {
		if r.Method == http.MethodGet && r.URL.Query().Get("watch") == "" {
			APIDown(f).Inject(s)
		}
	})
}

// Heal implements [Fault].
func (f APIListDown) Heal(s *lab.Stack) {
	f.Patcher.Kube.OnDone(nil)
	APIDown(f).Heal(s)
}
