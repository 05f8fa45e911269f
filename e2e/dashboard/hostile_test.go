package dashboard

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"harmony.dev/e2e/browser"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// attacks are texts that run a script, or break out of where they are put, on a page that shows them as they are.
var attacks = []string{
	`<script>globalThis.__xss=1</script>`,
	`"><img src=x onerror="globalThis.__xss=1">`,
	`' onmouseover='globalThis.__xss=1' x='`,
	`</title></style></textarea></svg></table><svg onload=globalThis.__xss=1>`,
	"x\n\nevent: fragment\ndata: {\"id\":\"main\",\"html\":\"<b id=injected>\"}\n\n",
	"\u202e\u2066<iframe srcdoc='<script>parent.__xss=1</script>'>\u2028",
	`{{.Acts}}${globalThis.__xss=1}<!--`,
	`<a id=banner href="javascript:globalThis.__xss=1">click</a><form id=main><input name=body></form>`,
}

// Fault:   a device writes, into every field that it controls, what would run a script: facts and labels, its version, its
// error, its time, keys that are no keys, values that are no documents. The pages are open while it does, and are opened
// again.
// Promise: no script runs, no element comes to be, and what it wrote is shown as what it wrote, on a telephone, too.
func TestHostile_NothingThatADeviceSaysRuns(t *testing.T) {
	s := newSmallSite(t, lab.Options{Shipped: true})
	u := s.serve()
	open := map[string]*browser.Page{}
	for _, path := range []string{"/", "/deployments/coast", "/operator"} {
		open[path] = u.page(path, browser.Options{})
	}
	s.attack()
	shown := map[string]string{
		"/deployments/coast": `#pairs`,
		"/devices/evil":      `#labels`,
		"/operator":          `#poison`,
	}
	for path, p := range open {
		if box, ok := shown[path]; ok {
			p.Becomes(within, fmt.Sprintf(`document.querySelector(%q).textContent.includes(%s)`, box, js(attacks[0])), true)
		}
		harmless(t, p, path)
	}
	for _, o := range []browser.Options{{}, phone} {
		p := browser.New(t, o)
		p.Forgive(`status of (404|400) `)
		all := []string{"/", "/deployments/coast", "/devices/evil", "/devices", "/operator", "/hold"}
		if !o.Phone {
			all = append(all, requests()...)
		}
		for _, path := range all {
			p.Open(u.url + path)
			p.Becomes(within, browser.Shown("#banner"), true)
			if box, ok := shown[path]; ok {
				p.Becomes(within, fmt.Sprintf(`document.querySelector(%q).textContent.includes(%s)`, box, js(attacks[0])), true)
			}
			harmless(t, p, path)
			if wide := browser.Value[int](p, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
				t.Errorf("%s is %d pixels wider than the screen: %v", path, wide, browser.Value[[]string](p, widest))
			}
		}
		p.Open(u.url + "/devices/evil")
		for _, attack := range attacks {
			p.Becomes(within, fmt.Sprintf(`document.querySelector('#labels').textContent.includes(%s)`, js(strings.TrimSpace(attack))), true)
		}
		p.Becomes(within, fmt.Sprintf(`document.querySelector('#seen').textContent.includes(%s)`, js(attacks[1])), true)
		p.Open(u.url + "/operator")
		p.Accessible()
	}
}

// attack writes in the role of an agent whose device nobody simulates.
func (s *site) attack() {
	s.t.Helper()
	long := strings.Repeat("W", 1000) // without a place to break at
	facts := map[string]string{"long": long}
	for i, attack := range attacks {
		facts[fmt.Sprintf("fact %d", i)] = attack
		facts[strings.ToValidUTF8(attack[:min(len(attack), fleet.MaxNameLength)], "")] = "key"
	}
	s.write(fleet.BucketDeviceInfo, "info.evil", js(fleet.DeviceInfo{
		Labels: map[string]string{"region": "east", "a.b-c_d": "v.-_x"}, Inventory: facts, AgentVersion: attacks[1],
	}))
	s.write(fleet.BucketDeviceHeartbeat, "heartbeat.evil", `{}`)
	s.AwaitDevices(within, devices+1, "")
	s.settled("coast", 13, 12, 0, 1, 0)
	s.report(fleet.Pair{Device: "evil", Deployment: "coast"}, fleet.Report{
		Phase: fleet.PhaseFailed, LastError: strings.Join(attacks, " "),
	})
	s.settled("coast", 13, 12, 1, 0, 0)

	hash := strings.Repeat("0", 64)
	for i, attack := range attacks {
		pair := fmt.Sprintf("state.dev-%04d.coast", 2+2*i)
		s.write(fleet.BucketDeviceState, pair, js(map[string]string{"phase": attack, "observedHash": hash, "lastEventAt": "2026-01-01T00:00:00Z"}))
		s.write(fleet.BucketDeviceInfo, fmt.Sprintf("info.evil-label-%d", i), js(fleet.DeviceInfo{Labels: map[string]string{attack: attack}}))
		token := strings.Map(func(r rune) rune {
			if strings.ContainsRune(" \t\n\r", r) {
				return '/'
			}
			return r
		}, attack)
		s.write(fleet.BucketDeviceInfo, "info."+token, `{}`)
		s.write(fleet.BucketDeviceHeartbeat, "heartbeat."+token, attack)
		s.write(fleet.BucketDeviceState, "state."+token+".coast", attack)
	}
	s.write(fleet.BucketDeviceState, "state.evil.<b>coast</b>", `{"phase":"Running"}`)
	s.write(fleet.BucketDeviceState, "state.dev-0024.coast", js(map[string]string{"phase": "Running", "observedHash": attacks[0], "lastEventAt": attacks[0]}))
	s.write(fleet.BucketDeviceHeartbeat, "heartbeat.dev-0001", attacks[0])
}

// requests are addresses that have the attacks in them.
func requests() (paths []string) {
	for _, attack := range attacks {
		q := url.QueryEscape(attack)
		paths = append(paths, "/devices?q="+q+"&class="+q+"&after="+q, "/deployments/"+url.PathEscape(attack), "/devices/"+url.PathEscape(attack))
	}
	return paths
}

// harmless asserts that nothing ran, and that no element is there that the product does not make.
func harmless(t *testing.T, p *browser.Page, path string) {
	t.Helper()
	if ran := browser.Value[bool](p, `'__xss' in globalThis`); ran {
		t.Errorf("%s ran a script of the device's", path)
	}
	strange := browser.Value[[]string](p, `[...document.querySelectorAll('img, iframe, object, embed, base, svg *:not(rect), #injected, [onerror], [onload], [onmouseover], [srcdoc], a[href^="javascript:"], script:not([src="/static/app.js"])')].map(e => e.outerHTML)`)
	if len(strange) > 0 {
		t.Errorf("%s has elements of the device's: %q", path, strange)
	}
	for _, id := range []string{"banner", "main", "asof"} {
		if n := browser.Value[int](p, browser.Count("#"+id)); n != 1 {
			t.Errorf("%s has %d elements #%s", path, n, id)
		}
	}
	if noise := p.Noise(); slices.ContainsFunc(noise, func(text string) bool { return strings.Contains(text, "policy") }) {
		t.Errorf("%s had to be saved by its policy: %q", path, noise)
	}
}

// js is a value as JSON, which is JavaScript, too.
func js(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of what a test has written
	}
	return string(b)
}
