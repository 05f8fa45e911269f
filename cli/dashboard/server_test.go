package dashboard

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet/fleettest"
)

const token = "a-token-of-enough-letters"

// dashboardAt serves a dashboard on a NATS server that nobody else is connected to.
func dashboardAt(t *testing.T, a *Actions) (base string, log *strings.Builder) {
	t.Helper()
	log = &strings.Builder{}
	s := New(Config{NATS: fleettest.NATS(t).Conn(t), Log: slog.New(slog.NewTextHandler(log, nil)), Every: 20 * time.Millisecond, Hosts: []string{"Fleet.example"}, Actions: a})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.watcher.run(ctx) }()
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() { web.Close(); cancel(); <-ended })
	return web.URL, log
}

// browser is a client that keeps cookies and follows no redirect.
func browser(t *testing.T) *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func do(t *testing.T, c *http.Client, method, target string, form url.Values, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestServer_Statuses(t *testing.T) {
	base, _ := dashboardAt(t, nil)
	for path, want := range map[string]int{
		"/": 200, "/operator": 200, "/devices": 200, "/deployments": 200, "/healthz": 200, "/static/app.js": 200, "/static/style.css": 200,
		"/devices/pi-1": 503, "/nosuch": 404, "/static/../server.go": 404, "/static/": 404, "/static": 404, "/static/%2e%2e/server.go": 404, "/login": 403,
		"/events": 404, "/events?page=/nosuch": 404, "/devices/A": 404,
	} {
		resp := do(t, browser(t), http.MethodGet, base+path, nil)
		if resp.StatusCode == http.StatusTemporaryRedirect {
			resp.StatusCode = http.StatusNotFound // to the path without dots, which is none
		}
		if resp.StatusCode != want {
			t.Errorf("GET %s: %d, want %d", path, resp.StatusCode, want)
		}
		csp := resp.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s: %v", path, resp.Header)
		}
	}
	if resp := do(t, browser(t), http.MethodPost, base+"/", nil); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST /: %d", resp.StatusCode)
	}
}

func TestServer_AnswersOnlyToItsNames(t *testing.T) {
	base, _ := dashboardAt(t, nil)
	for host, want := range map[string]int{
		"127.0.0.1:80": 200, "localhost:8484": 200, "[::1]:1": 200, "fleet.example": 200, "FLEET.example:443": 200,
		"evil.example": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example:80": 421,
	} {
		if resp := do(t, browser(t), http.MethodGet, base+"/healthz", nil, "Host", host); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, resp.StatusCode, want)
		}
	}
}

// A page whose own question is not answered is no reason to let the banner stand still.
func TestServer_StreamOfAPageThatCannotBeShown(t *testing.T) {
	base, _ := dashboardAt(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/events?page=/devices/pi-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	seen := map[string]bool{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan() && len(seen) < 3; {
		for _, want := range []string{`{"id":"banner"`, "no fleet-aggregator answers", "event: notice"} {
			if strings.Contains(lines.Text(), want) {
				seen[want] = true
			}
		}
	}
	if len(seen) < 3 {
		t.Errorf("only %v", seen)
	}
}

func TestServer_ReadOnly(t *testing.T) {
	base, _ := dashboardAt(t, nil)
	for _, path := range []string{"/hold/approve", "/devices/pi-1/forget", "/login"} {
		if resp := do(t, browser(t), http.MethodPost, base+path, url.Values{"id": {"h1"}, "token": {token}}); resp.StatusCode != http.StatusForbidden {
			t.Errorf("POST %s: %d", path, resp.StatusCode)
		}
	}
}

func TestServer_ActionsNeedTheToken(t *testing.T) {
	var approved, forgotten []string
	base, log := dashboardAt(t, &Actions{
		Token:   token,
		Approve: func(_ context.Context, id string) error { approved = append(approved, id); return nil },
		Forget:  func(_ context.Context, name string) error { forgotten = append(forgotten, name); return nil },
	})
	b := browser(t)
	approve := func(c *http.Client, header ...string) int {
		return do(t, c, http.MethodPost, base+"/hold/approve", url.Values{"id": {"h1"}}, header...).StatusCode
	}
	if code := approve(b); code != http.StatusForbidden || len(approved) > 0 {
		t.Errorf("without login: %d, %v", code, approved)
	}
	if resp := do(t, b, http.MethodPost, base+"/login", url.Values{"token": {token + "x"}}); resp.StatusCode != http.StatusForbidden {
		t.Errorf("wrong token: %d", resp.StatusCode)
	}
	resp := do(t, b, http.MethodPost, base+"/login", url.Values{"token": {token}})
	cookie := resp.Header.Get("Set-Cookie")
	if resp.StatusCode != http.StatusSeeOther || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Strict") || strings.Contains(cookie, token) {
		t.Fatalf("%d %s", resp.StatusCode, cookie)
	}
	if code := approve(b, "Origin", "http://evil.example"); code != http.StatusForbidden || len(approved) > 0 {
		t.Errorf("from another site: %d, %v", code, approved)
	}
	if code := approve(b, "Sec-Fetch-Site", "cross-site"); code != http.StatusForbidden || len(approved) > 0 {
		t.Errorf("from another site: %d, %v", code, approved)
	}
	if code := approve(b); code != http.StatusSeeOther || len(approved) != 1 {
		t.Errorf("%d, %v", code, approved)
	}
	if resp := do(t, b, http.MethodPost, base+"/devices/pi-1/forget", nil); resp.StatusCode != http.StatusOK || len(forgotten) != 1 {
		t.Errorf("%d, %v", resp.StatusCode, forgotten)
	}
	if resp := do(t, b, http.MethodPost, base+"/devices/A/forget", nil); resp.StatusCode != http.StatusBadRequest || len(forgotten) != 1 {
		t.Errorf("%d, %v", resp.StatusCode, forgotten)
	}
	do(t, b, http.MethodPost, base+"/logout", nil)
	if code := approve(b); code != http.StatusForbidden || len(approved) != 1 {
		t.Errorf("after logout: %d, %v", code, approved)
	}
	if strings.Contains(log.String(), token) {
		t.Error("the token is in the log")
	}
}

func TestSessions_GuessingIsSlow(t *testing.T) {
	s := newSessions(token)
	for range loginsBurst {
		if _, o := s.login("192.0.2.1:5", "wrong", noon); o != wrongToken {
			t.Fatal(o)
		}
	}
	if _, o := s.login("192.0.2.1:6", token, noon); o != tooMany {
		t.Errorf("the right token at the sixth attempt of a second: %d", o)
	}
	if _, o := s.login("192.0.2.2:5", token, noon); o != loggedIn {
		t.Errorf("somebody else's guesses keep one out: %d", o)
	}
	if _, o := s.login("192.0.2.1:7", token, noon.Add(time.Minute)); o != loggedIn {
		t.Errorf("%d", o)
	}
}

func TestSessions_End(t *testing.T) {
	s := newSessions(token)
	id, _ := s.login("192.0.2.1:5", token, noon)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.AddCookie(sessionCookie(id, r))
	if !s.known(r, noon.Add(sessionTime-time.Second)) || s.known(r, noon.Add(sessionTime)) {
		t.Error("it does not last as long as it should")
	}
	if (*sessions)(nil).known(r, noon) {
		t.Error("known where nobody can log in")
	}
}
