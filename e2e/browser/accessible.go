package browser

import (
	"encoding/json"
	"os"
	"path/filepath"

	"harmony.dev/e2e/lab"
)

// levels are the success criteria of WCAG 2.2 up to level AA, as axe-core calls them.
var levels = []string{"wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"}

// Accessible fails the test for each violation of WCAG, up to level AA, that axe-core finds in the page as it is now.
func (p *Page) Accessible() {
	p.t.Helper()
	for _, v := range p.violations() {
		p.t.Errorf("not accessible: %s", v)
	}
}

// violations are what axe-core finds, each with the elements that it finds it in.
func (p *Page) violations() []string {
	p.t.Helper()
	p.axe()
	tags, _ := json.Marshal(levels)
	found := Value[struct {
		Passed     int
		Violations []string
	}](p, `axe.run(document, {runOnly: {type: 'tag', values: `+string(tags)+`}, resultTypes: ['violations']}).then(r => ({
		Passed: r.passes.length,
		Violations: r.violations.map(v => v.id + ': ' + v.help + ': ' + v.nodes.slice(0, 5).map(n =>
			n.target.join(' ') + ' (' + (n.any[0] ?? n.all[0] ?? n.none[0])?.message + ')').join('; ')),
	}))`)
	if found.Passed == 0 {
		p.t.Error("axe-core has checked nothing")
	}
	return found.Violations
}

// axe loads the checker into the page, past its security policy, as an extension would.
func (p *Page) axe() {
	p.t.Helper()
	if Value[bool](p, `'axe' in globalThis`) {
		return
	}
	source, err := os.ReadFile(filepath.Join(lab.Root(p.t), ".tools", "axe", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		p.t.Fatalf("read axe-core ('scripts/browser' brings it): %v", err)
	}
	Value[any](p, string(source)+"\n;null")
}
