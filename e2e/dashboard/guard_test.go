package dashboard

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// request is one thing that is asked of a dashboard, and what it must answer.
type request struct {
	method, path string
	host         string // instead of the real one
	header       map[string]string
	body         string
	want         int
}

func (u *ui) ask(t *testing.T, c request) *http.Response {
	t.Helper()
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	req, err := http.NewRequestWithContext(t.Context(), c.method, u.url, body)
	if err != nil {
		t.Fatal(err)
	}
	// As it is: nobody is to clean it up before it is sent.
	req.URL.Path, req.URL.RawQuery, _ = strings.Cut(c.path, "?")
	if plain, err := url.PathUnescape(req.URL.Path); err == nil && plain != req.URL.Path {
		req.URL.Path, req.URL.RawPath = plain, req.URL.Path
	}
	if c.host != "" {
		req.Host = c.host
	}
	for k, v := range c.header {
		req.Header.Set(k, v)
	}
	if c.body != "" && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r, err := send(req)
	if err != nil {
		t.Fatalf("%s %s: %v", c.method, c.path, err)
	}
	return r
}

// guards asserts what is refused, and what a browser is told, by a dashboard that is read only.
func (u *ui) guards(t *testing.T) {
	own := strings.TrimPrefix(u.url, "http://")
	_, port, _ := strings.Cut(own, ":")
	for name, c := range map[string]request{
		"overview":              {method: "GET", path: "/", want: 200},
		"by the name localhost": {method: "GET", path: "/", host: "localhost:" + port, want: 200},
		"health":                {method: "GET", path: "/healthz", want: 200},
		"head":                  {method: "HEAD", path: "/", want: 200},
		"no such page":          {method: "GET", path: "/nowhere", want: 404},
		"no such deployment":    {method: "GET", path: "/deployments/nobody", want: 404},
		"no such device":        {method: "GET", path: "/devices/nobody", want: 404},
		"no name":               {method: "GET", path: "/devices/%3Cscript%3E", want: 404},
		"events of no page":     {method: "GET", path: "/events?page=/nowhere", want: 404},
		"events of elsewhere":   {method: "GET", path: "/events?page=//example.test/x", want: 404},

		"rebound name":            {method: "GET", path: "/", host: "attacker.example.test", want: 421},
		"rebound name and port":   {method: "GET", path: "/", host: "attacker.example.test:" + port, want: 421},
		"rebound on static":       {method: "GET", path: "/static/app.js", host: "attacker.example.test", want: 421},
		"name that begins alike":  {method: "GET", path: "/", host: "localhost.example.test", want: 421},
		"rebound events":          {method: "GET", path: "/events?page=/", host: "attacker.example.test", want: 421},
		"address with a name":     {method: "GET", path: "/", host: "127.0.0.1.example.test:" + port, want: 421},
		"delete":                  {method: "DELETE", path: "/devices/dev-0001", want: 405},
		"put":                     {method: "PUT", path: "/", want: 405},
		"post to a page":          {method: "POST", path: "/", body: "a=b", want: 405},
		"get of an action":        {method: "GET", path: "/devices/dev-0001/forget", want: 404},
		"traversal":               {method: "GET", path: "/static/../server.go", want: 404},
		"encoded traversal":       {method: "GET", path: "/static/..%2f..%2fgo.mod", want: 404},
		"twice encoded traversal": {method: "GET", path: "/static/%252e%252e%252fgo.mod", want: 404},
		"absolute":                {method: "GET", path: "/static//etc/passwd", want: 404},
		"list of the folder":      {method: "GET", path: "/static/", want: 404},

		"login":              {method: "GET", path: "/login", want: 403},
		"login with a token": {method: "POST", path: "/login", body: "token=" + token, want: 403},
		"approve":            {method: "POST", path: "/hold/approve", body: "id=hold-1", want: 403},
		"forget":             {method: "POST", path: "/devices/dev-0001/forget", body: "a=b", want: 403},
		"from another site":  {method: "POST", path: "/login", body: "token=" + token, header: map[string]string{"Origin": "http://example.test"}, want: 403},
	} {
		t.Run(name, func(t *testing.T) {
			r := u.ask(t, c)
			if r.StatusCode != c.want && (c.want != 404 || r.StatusCode != 301 && r.StatusCode != 307) {
				t.Errorf("%s %s is answered with %d, want %d: %.200s", c.method, c.path, r.StatusCode, c.want, bodyOf(r))
			}
			if text := bodyOf(r); strings.Contains(text, "root:") || strings.Contains(text, "package dashboard") || strings.Contains(text, "harmony.dev") {
				t.Errorf("%s gives a file away: %.200s", c.path, text)
			}
			checkHeaders(t, c.path, r.Header)
		})
	}
}

// checkHeaders asserts what every answer tells a browser, that of an error, too.
func checkHeaders(t *testing.T, path string, h http.Header) {
	t.Helper()
	policy := h.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("the policy of %s has no %q: %s", path, part, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") || strings.Contains(policy, "http") {
		t.Errorf("the policy of %s is loose: %s", path, policy)
	}
	if got := h.Get("X-Content-Type-Options"); got != "nosniff" {
		t.Errorf("X-Content-Type-Options of %s is %q", path, got)
	}
	if got := h.Get("Referrer-Policy"); got != "no-referrer" {
		t.Errorf("Referrer-Policy of %s is %q", path, got)
	}
	if got := h.Get("Cache-Control"); got != "no-store" && !strings.HasPrefix(path, "/static/") {
		t.Errorf("Cache-Control of %s is %q", path, got)
	}
	if got := h.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("%s lets %s read it", path, got)
	}
}
