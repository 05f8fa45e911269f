package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"harmony.dev/e2e/browser"
	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Who has the token, and nobody else, approves a real hold and forgets a device that is gone. The token is in no page, no
// address and no log, and cannot be guessed quickly.
func TestActions_OnlyWithTheToken(t *testing.T) {
	s := newSite(t, lab.Options{Shipped: true}, devices)
	gone := s.StartDevices(1, "--first", "25", "--heartbeat", "1s")
	s.AwaitDevices(within, devices+1, "")
	lost := s.labelled()
	u := s.serveActions()
	p := u.page("/hold", browser.Options{})
	p.Forgive(`status of 403 .*/login`)
	pages := []string{}
	keep := func() {
		pages = append(pages, browser.Value[string](p, `location.href + document.documentElement.outerHTML`))
	}

	gone.Kill()
	fault.Inject(s.Stack, lost)
	p.Becomes(within, state, "held")
	p.Becomes(within, browser.Count(`#hold form`), 0)
	keep()
	u.refuses(t, nil, s.holdID())

	p.Click(`a.login`)
	p.Type("#token", "battery-staple-correct\r")
	p.Becomes(within, browser.Shown(".complaint"), true)
	p.Becomes(within, browser.Attr("#token", "value"), nil)
	keep()
	p.Type("#token", token+"\r")
	p.Becomes(within, `location.pathname`, "/")
	session := u.session(t)
	keep()

	p.Open(u.url + "/hold")
	shoot(t, p, "hold")
	keep()
	u.refuses(t, map[string]string{"Cookie": session, "Origin": "http://example.test"}, s.holdID())
	u.refuses(t, map[string]string{"Cookie": session, "Sec-Fetch-Site": "cross-site"}, s.holdID())
	u.refuses(t, map[string]string{"Cookie": "fleet_dashboard=" + token}, s.holdID())
	for path, body := range map[string]string{"/hold/approve": "id=hold-0", "/devices/dev-0001/forget": "a=b"} { // another hold, a device that lives
		if r := u.ask(t, request{method: "POST", path: path, body: body, header: map[string]string{"Cookie": session}}); r.StatusCode != http.StatusConflict {
			t.Errorf("POST %s %s is answered with %d: %s", path, body, r.StatusCode, bodyOf(r))
		}
	}
	if n := s.keys(); n != devices {
		t.Errorf("desired-state has %d keys before the hold is approved", n)
	}
	p.Click(`#hold form button`)
	p.Becomes(within, `location.pathname`, "/hold")
	s.Eventually(within, "the deletes to be carried out", func(context.Context) error {
		if n := s.keys(); n > 0 {
			return fmt.Errorf("%d keys are there", n)
		}
		return nil
	})
	p.Becomes(within, state, "well")

	p.Open(u.url + "/devices/dev-0025")
	p.Becomes(within, `document.querySelector('#seen .tag').textContent`, "stale")
	p.Click(`#seen summary`)
	keep()
	p.Click(`#seen form button`)
	s.Eventually(within, "the Device to go", func(ctx context.Context) error { return s.API.Gone(ctx, fleet.KindDevice, "dev-0025") })
	p.Open(u.url + "/devices")
	p.Becomes(within, browser.Count("#devices li"), devices)

	p.Click(`header form button`) // log out
	p.Becomes(within, browser.Count(`a.login`), 1)
	u.limited(t)
	log, err := os.ReadFile(u.log)
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimPrefix(session, "fleet_dashboard=")
	for i, text := range append(pages, string(log)) {
		if strings.Contains(text, token) || strings.Contains(text, id) {
			t.Errorf("text %d has the token, or a session, in it: %.2000s", i, text)
		}
	}
	if !strings.Contains(string(log), "dev-0025") || !strings.Contains(string(log), "wrong token") {
		t.Errorf("the log does not say what was done:\n%s", log)
	}
}

// refuses asserts that neither action is carried out.
func (u *ui) refuses(t *testing.T, header map[string]string, hold string) {
	t.Helper()
	for _, c := range []request{
		{method: "POST", path: "/hold/approve", body: "id=" + hold, header: header, want: 403},
		{method: "POST", path: "/devices/dev-0025/forget", body: "a=b", header: header, want: 403},
	} {
		if r := u.ask(t, c); r.StatusCode != c.want {
			t.Errorf("%s with %v is answered with %d, want %d", c.path, header, r.StatusCode, c.want)
		}
	}
}

// session logs in as a program does, and returns the cookie.
func (u *ui) session(t *testing.T) string {
	t.Helper()
	r := u.ask(t, request{method: "POST", path: "/login", body: "token=" + token})
	if len(r.Cookies()) != 1 || r.StatusCode != http.StatusSeeOther {
		t.Fatalf("a login is answered with %d and %d cookies: %s", r.StatusCode, len(r.Cookies()), bodyOf(r))
	}
	c := r.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Domain != "" || c.Path != "/" || len(c.Value) < 20 || strings.Contains(c.Value, token) {
		t.Errorf("the cookie is %s", c)
	}
	return c.Name + "=" + c.Value
}

// limited asserts that tokens cannot be tried quickly, and that who knows it gets in again later.
func (u *ui) limited(t *testing.T) {
	t.Helper()
	seen := map[int]int{}
	for i := range 20 {
		seen[u.ask(t, request{method: "POST", path: "/login", body: fmt.Sprintf("token=guess-%d", i)}).StatusCode]++
	}
	if seen[http.StatusTooManyRequests] < 14 || seen[http.StatusForbidden]+seen[http.StatusTooManyRequests] != 20 {
		t.Errorf("20 guesses were answered with %v", seen)
	}
	u.s.Eventually(within, "to log in again", func(context.Context) error {
		if r := u.ask(t, request{method: "POST", path: "/login", body: "token=" + token}); r.StatusCode != http.StatusSeeOther {
			return fmt.Errorf("it is answered with %d", r.StatusCode)
		}
		return nil
	})
}

// keys is how many are desired.
func (s *site) keys() int {
	s.t.Helper()
	all, err := s.NATS.Keys(s.t.Context(), fleet.BucketDesiredState)
	if err != nil {
		s.t.Fatal(err)
	}
	return len(all)
}

// holdID is the id of what the brake holds.
func (s *site) holdID() string {
	s.t.Helper()
	hold, err := fleet.DecodeHold([]byte(s.hold().Value))
	if err != nil || hold.ID == "" {
		s.t.Fatal(errors.Join(err, fmt.Errorf("the hold is %+v", hold)))
	}
	return hold.ID
}

// Without a file there is a token all the same, which only its owner can read; a short one is refused.
func TestActions_MakesAToken(t *testing.T) {
	s := newSite(t, lab.Options{Shipped: true}, 1)
	file := s.Dir() + "/made"
	s.serve("--allow-actions", "--token-file", file, "--kubeconfig", s.Kube.Kubeconfig, "--namespace", s.Fleet)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() < 20 {
		t.Errorf("the token is %v: %v", info, err)
	}
	if err := os.WriteFile(file, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--allow-actions", "--token-file", file}, {"--allow-actions"}, {"--token-file", file}} {
		out, err := s.FleetCommand(t.Context(), append([]string{"dashboard", "--listen", "127.0.0.1:0"}, args...)...)
		if err == nil || strings.Contains(out, "short\n") {
			t.Errorf("%v is accepted, or shown: %s", args, out)
		}
	}
}
