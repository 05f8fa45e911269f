package browser

import "time"

// Watch begins to count what changes in the page and what moves in it.
func (p *Page) Watch() {
	p.t.Helper()
	Value[any](p, `__probe.watch()`)
}

// Changes are the changes of the document since [Page.Watch], one for each record of the browser: "#dep-web > td.running: childList".
func (p *Page) Changes() []string {
	p.t.Helper()
	return Value[[]string](p, `__probe.changes`)
}

// Shift is a layout shift as the browser saw it.
type Shift struct {
	Value  float64  `json:"value"` // the score
	Places []string `json:"places"`
}

// Shifts are the layout shifts since the page was loaded, or since [Page.Watch].
func (p *Page) Shifts() []Shift {
	p.t.Helper()
	return Value[[]Shift](p, `new Promise(done => requestAnimationFrame(() => setTimeout(() => done(__probe.shifts))))`)
}

// Load is what it took to load a page.
type Load struct {
	FirstPaint time.Duration // since the navigation began
	Contentful time.Duration // the first paint of anything of the page
	Loaded     time.Duration // all of it
	Bytes      int           // of the document and all that it loaded, not compressed
	Requests   int
}

// Load waits until the page was painted, and says what it took.
func (p *Page) Load() Load {
	p.t.Helper()
	p.Becomes(10*time.Second, `performance.getEntriesByType('paint').length`, 2)
	v := Value[struct {
		First, Contentful, Loaded float64
		Bytes, Requests           int
	}](p, `(() => {
		const paint = name => performance.getEntriesByName(name)[0].startTime;
		const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
		return {
			First: paint('first-paint'), Contentful: paint('first-contentful-paint'), Loaded: all[0].loadEventEnd,
			Bytes: all.reduce((n, e) => n + e.decodedBodySize, 0), Requests: all.length,
		};
	})()`)
	return Load{FirstPaint: milliseconds(v.First), Contentful: milliseconds(v.Contentful), Loaded: milliseconds(v.Loaded), Bytes: v.Bytes, Requests: v.Requests}
}

func milliseconds(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }
