package dashboard

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/browser"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Each page shows what is true of a small fleet, and shows changes as they come, without being loaded again.
func TestPages_ShowTheTruth(t *testing.T) {
	s := newSmallSite(t, lab.Options{Shipped: true})
	u := s.serve()
	well := u.page("/", browser.Options{})
	well.Becomes(within, says("well", "All is well"), true)
	shoot(t, well, "overview")
	s.breakSouth()
	t.Run("overview", func(t *testing.T) { s.overview(u.in(t)) })
	t.Run("deployment", func(t *testing.T) { s.deployment(u.in(t)) })
	t.Run("devices", func(t *testing.T) { s.list(u.in(t)) })
	t.Run("device", func(t *testing.T) { s.device(u.in(t)) })
	t.Run("operator", func(t *testing.T) { s.operator(u.in(t)) })
	t.Run("live", func(t *testing.T) { s.live(t, u.in(t)) })
}

// row is an expression for the cells of a Deployment on the overview.
func row(name string) string {
	return fmt.Sprintf(`['matched', 'running', 'failed', 'pending', 'stale', 'ready'].map(c => document.querySelector('#dep-%s td.' + c)?.textContent.trim())`, name)
}

// cellsOf is one for the classes of devices in the grid.
func cellsOf(names ...string) string {
	return fmt.Sprintf(`%s.map(n => document.getElementById('d-' + n)?.className)`, list(names))
}

// list is a JavaScript array of texts.
func list(texts []string) string {
	var out []string
	for _, text := range texts {
		out = append(out, strconv.Quote(text))
	}
	return "[" + strings.Join(out, ",") + "]"
}

func (s *site) overview(u *ui) {
	p := u.page("/", browser.Options{})
	p.Becomes(within, browser.Attr("body", "data-page"), "overview")
	p.Becomes(within, row("coast"), []string{"12", "12", "0", "0", "0", "Ready"})
	p.Becomes(within, row("broken"), []string{"6", "0", "6", "0", "0", "Stalled"})
	p.Becomes(within, browser.Attr("#dep-broken svg", "aria-label"), "0 running, 0 pending, 6 failed, 0 stale")
	p.Becomes(within, `document.querySelector('#dep-broken svg rect.failed').getBoundingClientRect().width > 50`, true)
	p.Becomes(within, browser.Count("#grid i"), devices)
	p.Becomes(within, cellsOf("dev-0001", "dev-0002", "dev-0003", "dev-0004"), []string{"idle", "running", "failed", "running"})
	p.Becomes(within, browser.Texts("#legend li a"), []string{"24 in all", "12 running", "0 pending", "6 failed", "0 stale", "6 idle"})
	p.Becomes(within, says("degraded", "broken"), true)
	age := `Date.now() - Date.parse(document.querySelector('#asof time').dateTime) < 4000`
	p.Becomes(within, age, true)
	p.Stays(2*time.Second, age, true)
	small := u.page("/", phone)
	small.Becomes(within, row("broken"), []string{"6", "0", "6", "0", "0", "Stalled"})
	shoot(u.t, small, "phone")
	p.Click(`#legend a[href="/devices?class=failed"]`)
	p.Becomes(within, browser.Count("#devices li"), 6)
	p.Open(u.url + "/")
	p.Click(`#dep-broken a`)
	p.Becomes(within, `location.pathname`, "/deployments/broken")
	p.Open(u.url + "/")
	p.Click(`#d-dev-0003`)
	p.Becomes(within, `location.pathname`, "/devices/dev-0003")
}

func (s *site) deployment(u *ui) {
	p := u.page("/deployments/broken", browser.Options{})
	p.Becomes(within, browser.Attr("body", "data-page"), "deployment")
	p.Becomes(within, browser.Texts("#counts dl.row dd"), []string{"6", "0", "0", "6", "0"})
	p.Becomes(within, browser.Count("#pairs tbody tr"), 6)
	p.Becomes(within, browser.Texts("#pairs tbody tr:first-child th, #pairs tbody tr:first-child td:nth-child(2), #pairs tbody tr:first-child td:last-child"), []string{"dev-0003", "failed", "no such image: demo:0"})
	p.Becomes(within, fmt.Sprintf(`%s.some(t => t.startsWith('6 ') && t.includes('no such image'))`, browser.Texts("#explain li")), true)
	p.Becomes(within, browser.Count("#changes li")+" > 5", true)
	shoot(u.t, p, "deployment")
	p.Open(u.url + "/deployments/coast")
	p.Becomes(within, browser.Texts("#counts dl.row dd"), []string{"12", "12", "0", "0", "0"})
	p.Becomes(within, fmt.Sprintf(`%s.some(t => t.startsWith('12 '))`, browser.Texts("#explain li")), true)
}

func (s *site) list(u *ui) {
	p := u.page("/devices", browser.Options{})
	p.Becomes(within, browser.Attr("body", "data-page"), "devices")
	p.Becomes(within, browser.Count("#devices li"), devices)
	p.Type("#q", "002\r")
	p.Becomes(within, `location.search`, "?q=002&class=")
	p.Becomes(within, browser.Texts("#devices li a"), []string{"dev-0002", "dev-0020", "dev-0021", "dev-0022", "dev-0023", "dev-0024"})
}

func (s *site) device(u *ui) {
	p := u.page("/devices/dev-0003", browser.Options{})
	p.Becomes(within, browser.Attr("body", "data-page"), "device")
	p.Becomes(within, browser.Texts("#labels > h2 ~ dl:first-of-type > *"), []string{"arch", "arm64", "region", "south"})
	p.Becomes(within, browser.Texts("#pairs tbody th"), []string{"broken", "coast"})
	p.Becomes(within, `document.querySelector('#v-broken').textContent.includes('no such image: demo:0')`, true)
	p.Becomes(within, `document.querySelector('#v-coast').textContent.includes('region')`, true)
	shoot(u.t, p, "device")
	heard := browser.Attr("#seen time", "datetime")
	first := browser.Value[string](p, heard)
	p.Becomes(within, heard+` > `+strconv.Quote(first), true) // heartbeats go on, and the page shows it
}

func (s *site) operator(u *ui) {
	p := u.page("/operator", browser.Options{Dark: true})
	p.Becomes(within, browser.Attr("body", "data-page"), "operator")
	p.Becomes(within, browser.Count("#services tbody tr"), 3)
	for service, epoch := range map[*lab.Instance]uint64{
		s.patcher: s.Epoch(fleet.BucketResources), s.reconciler: s.Epoch(fleet.BucketDesiredState), s.aggregator: s.Epoch(fleet.BucketLeases),
	} {
		cells := fmt.Sprintf("#r-%s-%s", service.Service(), service.ID())
		p.Becomes(within, browser.Texts(cells+" td:nth-child(3), "+cells+" td:nth-child(4), "+cells+" td:nth-child(5)"),
			[]string{"ready", "holds", fmt.Sprint(epoch)})
	}
	p.Becomes(within, fmt.Sprintf(`%s.every(t => t === 'yes')`, browser.Texts("#sources tbody td:nth-child(3)")), true)
	p.Becomes(within, browser.Count("#sources tbody tr")+" > 8", true)
	p.Becomes(within, browser.Count("#poison tbody tr"), 0)
	shoot(u.t, p, "operator")
	p.Becomes(within, `document.querySelector('#brake').textContent.includes('keeps nothing back')`, true)
}

// live changes the fleet as people do, and sees one page follow.
func (s *site) live(t *testing.T, u *ui) {
	p := u.page("/", browser.Options{})
	p.Becomes(within, browser.Count("#grid i"), devices)
	browser.Value[any](p, `globalThis.notLoadedAgain = true`)
	file := filepath.Join(s.Dir(), "marked.yaml")
	doc := fmt.Sprintf("apiVersion: %s/%s\nkind: Deployment\nmetadata: {name: marked}\nspec:\n  targetSelector: {matchLabels: {mark: \"yes\"}}\n  score: {type: sim, data: {image: \"demo:1\"}}\n", fleet.Group, fleet.Version)
	if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	s.kubectl("apply", "-f", file)
	began := time.Now()
	p.Becomes(within, row("marked"), []string{"0", "0", "0", "0", "0", "Ready"})
	s.Measured("kubectl apply: shown", time.Since(began), 0)
	p.Becomes(within, cellsOf("dev-0001"), []string{"idle"})
	p.Watch() // the new row has moved what is below it
	s.kubectl("label", "fdev/dev-0001", "mark=yes")
	began = time.Now()
	p.Becomes(within, row("marked"), []string{"1", "1", "0", "0", "0", "Ready"})
	p.Becomes(within, cellsOf("dev-0001"), []string{"running"})
	s.Measured("kubectl label: shown to run", time.Since(began), 0)
	p.Becomes(within, browser.Text("#n-idle"), "5")
	device := u.page("/devices/dev-0001", browser.Options{})
	device.Becomes(within, `document.querySelector('#labels').textContent.includes('mark')`, true)
	s.kubectl("label", "fdev/dev-0001", "mark-")
	device.Becomes(within, `document.querySelector('#labels').textContent.includes('mark')`, false)
	p.Becomes(within, row("marked"), []string{"0", "0", "0", "0", "0", "Ready"})
	s.report(fleet.Pair{Device: "dev-0002", Deployment: "coast"}, fleet.Report{Phase: fleet.PhaseFailed, LastError: "disk full"})
	p.Becomes(within, row("coast"), []string{"12", "11", "1", "0", "0", "Stalled"})
	p.Becomes(within, cellsOf("dev-0002"), []string{"failed"})
	still(t, p)
	deployment := u.page("/deployments/marked", browser.Options{})
	s.kubectl("delete", "fdep/marked")
	p.Becomes(within, browser.Count("#dep-marked"), 0)
	deployment.Becomes(within, browser.Shown("#notice"), true)
	if !browser.Value[bool](p, `globalThis.notLoadedAgain`) {
		t.Error("the page was loaded again")
	}
}

func (s *site) kubectl(args ...string) {
	s.t.Helper()
	if out, err := s.Kubectl(s.t.Context(), args...); err != nil {
		s.t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
}
