package dashboard

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"harmony.dev/e2e/browser"
	"harmony.dev/e2e/lab"
)

// paths are all kinds of pages of a small fleet.
var paths = []string{"/", "/deployments", "/deployments/coast", "/deployments/broken", "/devices", "/devices/dev-0003", "/operator", "/hold", "/login", "/nowhere"}

// Who reads pages with other means than most reads the same: each page holds to WCAG 2.2 AA, light and dark; on a telephone
// nothing but a table is wider than the screen; all that can be done can be done with the keyboard, and seen; without script
// a page is whole.
func TestAccess_Everybody(t *testing.T) {
	s := newSmallSite(t, lab.Options{Shipped: true})
	s.breakSouth()
	u := s.serveActions()
	for name, o := range map[string]browser.Options{"light": {}, "dark": {Dark: true}, "phone": phone} {
		t.Run(name, func(t *testing.T) { u.in(t).accessible(o) })
	}
	t.Run("banner", func(t *testing.T) { u.in(t).everyState() })
	t.Run("keyboard", func(t *testing.T) { u.in(t).keyboard() })
	t.Run("without script", func(t *testing.T) { u.in(t).withoutScript() })
	readOnly := s.serve()
	t.Run("guards", func(t *testing.T) { readOnly.in(t).guards(t) })
}

// phone is a small one.
var phone = browser.Options{Width: 360, Height: 740, Phone: true}

func (u *ui) accessible(o browser.Options) {
	p := browser.New(u.t, o)
	p.Forgive(`status of 404 .*/nowhere`)
	for _, path := range paths {
		p.Open(u.url + path)
		p.Becomes(within, browser.Shown("#banner"), true)
		p.Accessible()
		if wide := browser.Value[int](p, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
			u.t.Errorf("%s is %d pixels wider than the screen: %v", path, wide, browser.Value[[]string](p, widest))
		}
		if titles := browser.Value[int](p, browser.Count("h1")); titles != 1 {
			u.t.Errorf("%s has %d first headings", path, titles)
		}
	}
}

// widest is an expression for the elements that are wider than the screen, outside of boxes that scroll.
const widest = `[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.localName + '#' + e.id + '.' + e.className).slice(0, 9)`

// everyState looks at the banner in each of its colours, on a page that nothing updates.
func (u *ui) everyState() {
	for _, dark := range []bool{false, true} {
		p := browser.New(u.t, browser.Options{Dark: dark})
		p.Open(u.url + "/login")
		p.Becomes(within, browser.Shown("#banner"), true)
		for _, state := range []string{"well", "converging", "degraded", "held", "unhealthy", "unknown"} {
			browser.Value[any](p, fmt.Sprintf(`for (const e of document.querySelectorAll('#banner, #banner li')) e.dataset.state = %[1]q;
				for (const e of document.querySelectorAll('#banner .tag')) { e.className = 'tag ' + %[1]q; e.textContent = %[1]q } null`, state))
			p.Accessible()
		}
	}
}

// focus is what has the focus: where it leads to, whether it is seen, and how it stands out.
type focus struct {
	Name, Href    string
	Seen, Outline bool
}

const focused = `(e => e === document.body ? {} : ({Name: e.textContent.trim() || e.getAttribute('aria-label') || e.id, Href: e.getAttribute('href') ?? '',
	Seen: (r => r.width > 0 && r.height > 0 && r.right > 0 && r.bottom > 0 && r.left < innerWidth && r.top < innerHeight)(e.getBoundingClientRect()),
	Outline: (s => s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2)(getComputedStyle(e))}))(document.activeElement)`

func (u *ui) keyboard() {
	p := u.page("/", browser.Options{})
	p.Press("\t")
	first := browser.Value[focus](p, focused)
	if first.Href != "#main" || !first.Seen {
		u.t.Errorf("the first stop is %+v, and no way past the head", first)
	}
	p.Press("\r")
	p.Becomes(within, `location.hash`, "#main")
	p.Open(u.url + "/")
	var stops []string
	for range 60 {
		p.Press("\t")
		f := browser.Value[focus](p, focused)
		if f.Name != "" && (!f.Seen || !f.Outline) {
			u.t.Errorf("the focus cannot be seen: %+v", f)
		}
		if slices.Contains(stops, f.Href) && f.Href == "#main" {
			break
		}
		stops = append(stops, f.Href)
	}
	for _, href := range []string{"/", "/deployments", "/devices", "/operator", "/login", "/deployments/coast", "/devices?class=failed"} {
		if !slices.Contains(stops, href) {
			u.t.Errorf("the keyboard does not reach %s: it stops at %q", href, stops)
		}
	}
	for key, path := range map[string]string{"1": "/", "2": "/deployments", "3": "/devices", "4": "/operator"} {
		p.Press(key)
		p.Becomes(within, `location.pathname`, path)
		p.Becomes(within, live, "on") // its script has begun
	}
	p.Open(u.url + "/devices")
	p.Becomes(within, live, "on")
	p.Press("/")
	p.Becomes(within, `document.activeElement.id`, "q")
	p.Press("1")
	p.Becomes(within, `document.activeElement.value.endsWith('1') && location.pathname`, "/devices") // what is typed is no shortcut
}

func (u *ui) withoutScript() {
	p := u.page("/", browser.Options{NoScript: true})
	p.Becomes(within, row("coast"), []string{"12", "12", "0", "0", "0", "Ready"})
	p.Becomes(within, browser.Count("#grid i"), devices)
	if text := browser.Value[string](p, `document.body.innerText`); !strings.Contains(text, "As of") {
		u.t.Errorf("the page does not say of when it is: %s", text)
	}
	p.Becomes(within, browser.Shown("noscript"), true) // it says that it stands still
	p.Click("#dep-broken a")
	p.Becomes(within, `location.pathname`, "/deployments/broken")
	p.Becomes(within, browser.Texts("#counts dl.row dd"), []string{"6", "0", "0", "6", "0"})
	p.Click(`nav a[href="/operator"]`)
	p.Becomes(within, browser.Count("#services tbody tr"), 3)
	p.Click(`nav a[href="/devices"]`)
	p.Type("#q", "dev-0007\r")
	p.Becomes(within, browser.Texts("#devices li a"), []string{"dev-0007"})
}
