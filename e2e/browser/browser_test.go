package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := m.Run()
	_ = End()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// serve serves a page with a strict policy at "/", and "app.js".
func serve(t *testing.T, body, script string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:")
		fmt.Fprintf(w, `<!doctype html><html lang="en"><head><title>A page</title><meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">%s</head><body><main>%s</main></body></html>`,
			`<script src="/app.js" defer></script>`, body)
	})
	mux.HandleFunc("/app.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprint(w, script)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func TestPage_HearsWhatNoPageShouldSay(t *testing.T) {
	for name, c := range map[string]struct{ body, script, want string }{
		"quiet":         {"<h1>Hello</h1>", "", ""},
		"console":       {"", `console.warn("careful")`, `console.warning: "careful"`},
		"exception":     {"", `nobody.knows()`, `ReferenceError: nobody is not defined`},
		"promise":       {"", `Promise.reject(new Error("late"))`, `Error: late`},
		"dialog":        {"", `alert("look")`, `dialog: look`},
		"inline script": {`<script>document.title = "mine"</script>`, "", `policy: script-src-elem`},
		"handler":       {`<img src="nowhere:" onerror="document.title = 'mine'">`, "", `policy: script-src-attr`},
		"inline style":  {`<p style="color: red">red</p>`, "", `policy: style-src-attr`},
		"missing":       {`<img src="/none.png" alt="">`, "", `status of 404`},
		"elsewhere":     {"", `fetch("http://example.test/")`, `policy: connect-src`},
	} {
		t.Run(name, func(t *testing.T) {
			p := New(t, Options{})
			p.Open(serve(t, c.body, c.script))
			deadline := time.Now().Add(5 * time.Second)
			for c.want != "" && !strings.Contains(strings.Join(p.Noise(), "\n"), c.want) && time.Now().Before(deadline) {
				time.Sleep(askEvery)
			}
			if got := strings.Join(p.Noise(), "\n"); !strings.Contains(got, c.want) || c.want == "" && got != "" {
				t.Errorf("heard %q, want %q", got, c.want)
			}
			if title := Value[string](p, `document.title`); title != "A page" {
				t.Errorf("the page's own policy was not obeyed: the title is %q", title)
			}
			p.Forgive(".*")
		})
	}
}

func TestPage_SeesWhatMovesAndChanges(t *testing.T) {
	p := New(t, Options{})
	p.Open(serve(t, `top<div id="box"></div><p id="text">one <b class="n">1</b></p>`,
		`globalThis.push = () => document.querySelector('#box').append(document.createElement('canvas'))`))
	p.Watch()
	Value[any](p, `document.querySelector('#text b').textContent = '2'`)
	p.Becomes(time.Second, `__probe.changes`, []string{"#text > b.n: childList"})
	if s := p.Shifts(); len(s) > 0 {
		t.Errorf("nothing moved, and it saw %+v", s)
	}
	Value[any](p, `push(), null`)
	p.Becomes(time.Second, `__probe.shifts.map(s => s.places.join())`, []string{"#text"})
	if s := p.Shifts(); len(s) != 1 || s[0].Value <= 0 {
		t.Errorf("it saw %+v", s)
	}
	p.Watch()
	if s, c := p.Shifts(), p.Changes(); len(s)+len(c) > 0 {
		t.Errorf("after Watch there are %+v %q", s, c)
	}
}

func TestPage_FindsWhatIsNotAccessible(t *testing.T) {
	p := New(t, Options{})
	p.Open(serve(t, `<h1>Hello</h1><input><p id="pale">pale</p>`, `
		const sheet = new CSSStyleSheet();
		sheet.replaceSync('#pale { color: #bbb } @media (prefers-color-scheme: dark) { #pale { color: #000 } }');
		document.adoptedStyleSheets = [sheet];`))
	got := p.violations()
	for _, rule := range []string{"label: ", "color-contrast: "} {
		if !slices.ContainsFunc(got, func(v string) bool { return strings.HasPrefix(v, rule) }) {
			t.Errorf("no %q among %q", rule, got)
		}
	}
	dark := New(t, Options{Dark: true})
	dark.Open(serve(t, `<h1>Hello</h1>`, ""))
	dark.Accessible()
	dark.Becomes(time.Second, `matchMedia('(prefers-color-scheme: dark)').matches`, true)
}

func TestPage_MeasuresItsLoad(t *testing.T) {
	p := New(t, Options{Width: 360, Height: 640, Phone: true})
	p.Open(serve(t, "<p>Hello</p>", strings.Repeat("//\n", 1000)))
	l := p.Load()
	if l.FirstPaint <= 0 || l.FirstPaint > l.Contentful || l.Bytes < 3000 || l.Bytes > 4000 || l.Requests < 2 {
		t.Errorf("it says %+v", l)
	}
	if w := Value[int](p, `innerWidth`); w != 360 {
		t.Errorf("it is %d pixels wide", w)
	}
	if png := p.Screenshot(); string(png[1:4]) != "PNG" {
		t.Errorf("the screenshot begins with %q", png[:4])
	}
}

func TestPage_WithoutScript(t *testing.T) {
	p := New(t, Options{NoScript: true})
	p.Open(serve(t, `<p>Hello</p><noscript>Reload me</noscript>`, `document.title = "mine"`))
	if title := Value[string](p, `document.title`); title != "A page" {
		t.Errorf("a script ran: the title is %q", title)
	}
	p.Becomes(time.Second, Text("noscript"), "Reload me")
	p.Becomes(time.Second, Shown("noscript"), true)
}
