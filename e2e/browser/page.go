package browser

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

//go:embed probe.js
var probe string

// Options say how a page differs from the usual one: 1280 × 800, light, with script.
type Options struct {
	Width, Height int64 // CSS pixels
	Phone         bool  // obeys the page's viewport, as telephones do
	Dark          bool
	NoScript      bool
}

// Page is one page, with cookies of its own. Its methods are for the test's goroutine; whatever fails is fatal to the test.
type Page struct {
	t     testing.TB
	ctx   context.Context //nolint:containedctx // chromedp names a page by its context
	noise *noise
}

// askLimit bounds each thing that is asked of a page.
const askLimit = 20 * time.Second

// askEvery is the time between two questions, while a test waits for something.
const askEvery = 20 * time.Millisecond

// New opens a page for the test, and closes it with the test.
func New(t testing.TB, o Options) *Page {
	t.Helper()
	p := &Page{t: t, noise: &noise{}}
	ctx, cancel := chromedp.NewContext(start(t), chromedp.WithNewBrowserContext(), chromedp.WithListener(func(ev any) { p.noise.hear(p.ctx, ev) }))
	p.ctx = ctx
	t.Cleanup(func() { p.close(cancel) })
	if err := p.set(o); err != nil {
		t.Fatalf("open a page: %v", err)
	}
	return p
}

func (p *Page) set(o Options) error {
	if o.Width == 0 {
		o.Width, o.Height = 1280, 800
	}
	scheme := "light"
	if o.Dark {
		scheme = "dark"
	}
	if err := chromedp.Do(p.ctx); err != nil { // a limit on the first of all would be one on the page
		return err
	}
	if _, err := chromedp.Call(p.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: probe}); err != nil {
		return err
	}
	if _, err := chromedp.Call(p.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: o.Width, Height: o.Height, DeviceScaleFactor: 1, Mobile: o.Phone}); err != nil {
		return err
	}
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
		return err
	}
	_, err := chromedp.Call(p.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: o.NoScript})
	return err
}

// close ends the page and fails the test for what was heard of it.
func (p *Page) close(cancel context.CancelFunc) {
	p.CheckNoise()
	if p.t.Failed() {
		p.keep()
	}
	cancel()
	p.noise.wait()
}

// keep leaves a picture of the page of a failed test, and its text.
func (p *Page) keep() {
	dir, err := os.MkdirTemp("", "fleet-page-")
	if err != nil {
		return
	}
	if png, err := p.tryShot(); err == nil {
		_ = os.WriteFile(filepath.Join(dir, "page.png"), png, 0o600)
	}
	if html, err := ask(p, `document.documentElement.outerHTML`); err == nil {
		_ = os.WriteFile(filepath.Join(dir, "page.html"), html, 0o600)
	}
	p.t.Logf("the page as it was is in %s", dir)
}

// Open goes to an address and waits until the page is loaded.
func (p *Page) Open(url string) {
	p.t.Helper()
	p.do("open "+url, chromedp.Navigate(url))
}

// Reload loads the page again.
func (p *Page) Reload() {
	p.t.Helper()
	p.do("reload", chromedp.Reload())
}

// Click clicks on the first element that a CSS selector hits, where it is seen.
func (p *Page) Click(selector string) {
	p.t.Helper()
	p.do("click on "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// Type types a text into a field.
func (p *Page) Type(selector, text string) {
	p.t.Helper()
	p.do("type into "+selector, chromedp.SendKeys(chromedp.CSS(selector), text))
}

// Press presses keys: "\t", "\r", "a".
func (p *Page) Press(keys string) {
	p.t.Helper()
	p.do(fmt.Sprintf("press %q", keys), chromedp.KeyEvent(keys))
}

func (p *Page) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, askLimit)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// Value is what a JavaScript expression says, or the promise that it makes.
func Value[T any](p *Page, js string) (v T) {
	p.t.Helper()
	raw, err := ask(p, js)
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil {
		p.t.Fatalf("ask the page for %.200s: %v", js, err)
	}
	return v
}

// ask returns the value of an expression as JSON; "null" for undefined.
func ask(p *Page, js string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.ctx, askLimit)
	defer cancel()
	raw, err := chromedp.Run(ctx, chromedp.Evaluate[[]byte](js, chromedp.EvalAwaitPromise))
	if err == nil && len(raw) == 0 {
		raw = []byte("null")
	}
	return raw, err
}

// Becomes waits until an expression has a value, compared as JSON, and returns how long that took.
func (p *Page) Becomes(within time.Duration, js string, want any) time.Duration {
	p.t.Helper()
	took, err := p.became(within, js, want)
	if err != nil {
		p.t.Fatal(err)
	}
	return took
}

func (p *Page) became(within time.Duration, js string, want any) (time.Duration, error) {
	wanted, err := json.Marshal(want)
	if err != nil {
		return 0, err
	}
	var raw []byte
	for began := time.Now(); ; {
		raw, err = ask(p, js) // a page that is just being loaded has no answer
		took := time.Since(began)
		switch {
		case err == nil && same(raw, wanted):
			return took, nil
		case took > within && err != nil:
			return took, fmt.Errorf("not within %s: %s is to be %s: %w", within, js, wanted, err)
		case took > within:
			return took, fmt.Errorf("not within %s: %s is to be %s, and is %.500s", within, js, wanted, raw)
		}
		time.Sleep(askEvery)
	}
}

// same compares values, whatever their JSON looks like.
func same(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	a, errA := json.Marshal(x)
	b, errB := json.Marshal(y)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// Stays asserts that an expression keeps a value for so long.
func (p *Page) Stays(during time.Duration, js string, want any) {
	p.t.Helper()
	wanted, err := json.Marshal(want)
	if err != nil {
		p.t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < during; time.Sleep(askEvery) {
		if raw, err := ask(p, js); err != nil || !same(raw, wanted) {
			p.t.Fatalf("after %s %s is not %s any more: it is %.500s (%v)", time.Since(began).Round(time.Millisecond), js, wanted, raw, err)
		}
	}
}
