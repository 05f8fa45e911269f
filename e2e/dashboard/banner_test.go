package dashboard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/browser"
	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

const (
	// toldWithin is how soon a page must say what is wrong, from when the fault began.
	toldWithin = 3 * time.Second
	// within is how long a test waits for what has no budget.
	within = 30 * time.Second
)

// says is an expression for whether the banner has a state and a text.
func says(state, text string) string {
	return fmt.Sprintf(`(b => b?.dataset.state === %s && b.textContent.includes(%s))(document.querySelector('#banner'))`,
		strconv.Quote(state), strconv.Quote(text))
}

// mentions is one for whether the banner has a text, whatever its state.
func mentions(text string) string {
	return fmt.Sprintf(`(document.querySelector('#banner')?.textContent.includes(%s) ?? false)`, strconv.Quote(text))
}

// old is one for the sections that say that they are old, and what else is shown in grey.
const old = `[...document.querySelectorAll('section[data-old="true"]'), ...[...document.querySelectorAll('#grid')].filter(e => getComputedStyle(e).filter.includes('grayscale'))].map(s => s.id).sort()`

// Fault:   each of the three services is killed, or hangs; NATS is killed; the dashboard's own way to NATS swallows
// everything; the apiserver is not to be reached; a Deployment is rolled out slowly, and one fails.
// Promise: the banner says what is wrong; sections whose source is silent say that they are old; when it is mended, all is
// well again. The page stays live all the time.
// Budget:  3 s from the fault to the banner.
func TestBanner_SaysWhatIsWrong(t *testing.T) {
	s := newSmallSite(t, lab.Options{})
	s.apply("north", demo, "north")
	s.settled("north", 6, 6, 0, 0, 0)
	u := s.serve()
	p := u.page("/", browser.Options{})
	single := u.page("/deployments/coast", browser.Options{}) // which asks questions of its own
	for _, page := range []*browser.Page{p, single} {
		page.Becomes(within, state, "well")
		page.Becomes(within, old, []string{})
		page.Watch()
	}
	for _, c := range []struct {
		name        string
		fault       fault.Fault
		state, text string
		old, single []string // sections, on the overview and on the page of a Deployment
	}{
		{"patcher killed", fault.Kill{s.patcher}, "unhealthy", fleet.ServicePatcher, nil, nil},
		{"reconciler killed", fault.Kill{s.reconciler}, "unhealthy", fleet.ServiceReconciler, nil, nil},
		{"aggregator killed", fault.Kill{s.aggregator}, "unhealthy", fleet.ServiceAggregator, aggregated, single1},
		{"aggregator hangs", fault.Pause{s.aggregator}, "unhealthy", fleet.ServiceAggregator, aggregated, single1},
		{"apiserver not to be reached", fault.APIDown{Patcher: s.patcher}, "unhealthy", "apiserver", nil, nil},
		{"NATS killed", fault.KillNATS{}, "unhealthy", "NATS", aggregated, single1},
		{"own network swallows", swallowed{u}, "unhealthy", "", aggregated, single1},
		{"rolled out", wished{s, `{"image":"demo:2","delay":"6s"}`}, "converging", "on the way", nil, nil},
		{"failing", wished{s, `{"fail":"no such image: demo:0"}`}, "degraded", "north", nil, nil},
	} {
		told := says(c.state, c.text)
		p.Becomes(within, told, false) // nor is it of the case before
		began := time.Now()
		fault.Inject(s.Stack, c.fault)
		p.Becomes(within, told, true)
		s.Measured(c.name+": told", time.Since(began), toldWithin)
		single.Becomes(within, told, true)
		if c.old != nil {
			p.Becomes(within, old, c.old)
			single.Becomes(within, old, c.single)
		}
		s.Measured(c.name+": told everywhere, and what is old shown as old", time.Since(began), toldWithin)
		if c.name == "aggregator killed" {
			shoot(t, p, "overview-old")
		}
		mended := time.Now()
		fault.Heal(s.Stack, c.fault)
		for _, page := range []*browser.Page{p, single} {
			page.Becomes(within, told, false)
			page.Becomes(within, old, []string{})
		}
		s.Measured(c.name+": mended, and not told any more", time.Since(mended), 0)
	}
	for _, page := range []*browser.Page{p, single} {
		page.Becomes(2*within, state, "well")
		still(t, page)
		if slices.Contains(page.Changes(), "html: data-live") {
			t.Error("the page was not live for a while, though the dashboard was")
		}
	}
	s.WaitReady(3)
	s.AtRest()
}

// What the aggregator alone knows.
var (
	aggregated = []string{"deployments", "grid", "legend"}
	single1    = []string{"changes", "counts", "explain", "pairs"}
)

// swallowed drops what the dashboard and NATS say to each other.
type swallowed struct{ u *ui }

func (swallowed) Name() string         { return "dashboard-unplugged" }
func (swallowed) Target() string       { return "dashboard" }
func (swallowed) Needs() []lab.Ability { return []lab.Ability{lab.Proxies} }
func (f swallowed) Inject(*lab.Stack)  { f.u.nats.Swallow(true) }
func (f swallowed) Heal(*lab.Stack)    { f.u.nats.Swallow(false) }

// wished is another score for the Deployment "north"; healed, it has the one that it had.
type wished struct {
	s    *site
	data string
}

func (wished) Name() string         { return "wish" }
func (wished) Target() string       { return "north" }
func (wished) Needs() []lab.Ability { return nil }
func (f wished) Inject(*lab.Stack)  { f.s.apply("north", f.data, "north") }
func (f wished) Heal(*lab.Stack)    { f.s.apply("north", demo, "north") }

// demo is a score that runs.
const demo = `{"image":"demo:1"}`

// Fault:   the stream of each bucket is deleted, one after the other.
// Promise: the banner names the bucket, until what was lost is there again; then all is well by itself.
// Budget:  3 s from the fault to the banner.
func TestBanner_NamesALostBucket(t *testing.T) {
	s := newSmallSite(t, lab.Options{})
	u := s.serve()
	p := u.page("/", browser.Options{})
	p.Becomes(within, state, "well")
	for _, bucket := range record.Buckets() {
		if bucket == fleet.BucketLeases {
			continue // nothing is in it but a lease, which is taken again at once
		}
		began := time.Now()
		fault.Inject(s.Stack, fault.StreamDelete(bucket))
		p.Becomes(within, mentions(bucket), true)
		s.Measured(bucket+" deleted: told", time.Since(began), toldWithin)
		if browser.Value[string](p, state) == "well" {
			t.Errorf("the banner says that all is well without %s", bucket)
		}
	}
	p.Becomes(2*within, state, "well")
	s.settled("coast", 12, 12, 0, 0, 0)
	s.WaitReady(3)
	s.AtRest()
}

// Fault:   all devices lose a label at once, by which a Deployment selects them.
// Promise: the banner says that deletes are held, on every page; the page of the hold lists them; when the labels are back,
// all is well again.
// Budget:  3 s from when the hold was written.
func TestBanner_SaysWhatIsHeld(t *testing.T) {
	s := newSite(t, lab.Options{}, devices)
	lost := s.labelled()
	u := s.serve()
	p := u.page("/operator", browser.Options{})
	p.Becomes(within, state, "well")
	fault.Inject(s.Stack, lost)
	p.Becomes(within, says("held", "24"), true)
	told := time.Now()
	s.Measured("hold written: told", told.Sub(s.hold().Stamp), toldWithin)
	p.Becomes(within, browser.Count(`#brake a[href="/hold"]`), 1)
	hold := u.page("/hold", browser.Options{})
	hold.Becomes(within, browser.Count(`#hold tbody tr`), devices)
	hold.Becomes(within, browser.Count(`form`), 0)
	for _, path := range []string{"/", "/devices", "/devices/dev-0001", "/deployments/edge"} {
		hold.Open(u.url + path)
		hold.Becomes(within, state, "held")
	}
	mended := time.Now()
	fault.Heal(s.Stack, lost)
	p.Becomes(within, state, "well")
	s.Measured("labels back: well again", time.Since(mended), 0)
	s.settled("edge", devices, devices, 0, 0, 0)
	s.AtRest()
}

// labelled has "edge" run on all devices by a label that they can lose.
func (s *site) labelled() fault.LabelLoss {
	s.t.Helper()
	lost := fault.LabelLoss{Key: "tier", Value: "edge"}
	for i := range devices {
		device := fmt.Sprintf("dev-%04d", i+1)
		lost.Devices = append(lost.Devices, device)
		s.API.Label(device, lost.Key, lost.Value)
	}
	s.API.Apply(lab.Deployment{Name: "edge", Selector: fleet.Selector{MatchLabels: map[string]string{lost.Key: lost.Value}}})
	s.settled("edge", devices, devices, 0, 0, 0)
	return lost
}

// a number of one digit less begins further to the right: the browser counts that, people do not.
const oneDigit = 0.0005

// still asserts that nothing in the page has moved since it was loaded or watched.
func still(t *testing.T, p *browser.Page) {
	t.Helper()
	total := 0.0
	for _, shift := range p.Shifts() {
		if !slices.ContainsFunc(shift.Places, func(place string) bool { return !strings.HasPrefix(place, "#banner") }) {
			continue // its words change, in the room that it always has
		}
		total += shift.Value
		t.Logf("moved by %.4f: %q", shift.Value, shift.Places)
	}
	if total > oneDigit {
		t.Errorf("the page has moved by %.4f in all", total)
	}
}

// hold is the record of what the brake holds.
func (s *site) hold() (e lab.Entry) {
	s.t.Helper()
	s.Eventually(within, "the record of a hold", func(ctx context.Context) error {
		all, err := s.NATS.Entries(ctx, fleet.BucketDesiredState)
		var ok bool
		if e, ok = all[fleet.KeyHold]; err == nil && (!ok || e.Delete) {
			err = errors.New("there is none")
		}
		return err
	})
	return e
}
