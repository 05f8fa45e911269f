package dashboard

import (
	"context"
	"net/url"
	"strings"
	"time"

	"harmony.dev/cli/picture"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// view is all that a page is rendered from.
type view struct {
	page   page
	Path   string // with its query
	Title  string
	Now    time.Time
	P      picture.Picture
	Banner picture.Banner
	Acts   acts
	Body   any
}

// acts says what the one who looks may do.
type acts struct {
	Offered  bool // after login
	LoggedIn bool
	Forget   bool
}

// page is a kind of page. Its sections are the names of templates, which are the ids of elements, too.
type page struct {
	name     string
	sections []string
	load     func(ctx context.Context, s *Server, v *view, name string, query url.Values) error
}

// Name returns the name of the page.
func (v *view) Name() string { return v.page.name }

// always are the sections that each page has in its head.
var always = []string{"banner", "asof"}

var (
	overviewPage    = page{name: "overview", sections: []string{"deployments", "legend", "grid"}, load: loadNothing("Overview")}
	deploymentsPage = page{name: "deployments", sections: []string{"deployments"}, load: loadNothing("Deployments")}
	deploymentPage  = page{name: "deployment", sections: []string{"counts", "explain", "pairs", "changes"}, load: loadDeployment}
	devicesPage     = page{name: "devices", sections: []string{"legend", "devices"}, load: loadDevices}
	devicePage      = page{name: "device", sections: []string{"seen", "labels", "verdicts"}, load: loadDevice}
	operatorPage    = page{name: "operator", sections: []string{"services", "sources", "poison", "brake"}, load: loadNothing("Operator")}
	holdPage        = page{name: "hold", sections: []string{"hold"}, load: loadHold}
)

// route returns the page of a path, and the name in it. ok is false when there is no such page.
func route(path string) (p page, name string, ok bool) {
	switch path {
	case "/":
		return overviewPage, "", true
	case "/deployments":
		return deploymentsPage, "", true
	case "/devices":
		return devicesPage, "", true
	case "/operator":
		return operatorPage, "", true
	case "/hold":
		return holdPage, "", true
	}
	if name, ok := strings.CutPrefix(path, "/deployments/"); ok {
		return deploymentPage, name, fleet.DeploymentName(name).Validate() == nil
	}
	if name, ok := strings.CutPrefix(path, "/devices/"); ok {
		return devicePage, name, fleet.DeviceID(name).Validate() == nil
	}
	return page{}, "", false
}

func loadNothing(title string) func(context.Context, *Server, *view, string, url.Values) error {
	return func(_ context.Context, _ *Server, v *view, _ string, _ url.Values) error {
		v.Title = title
		return nil
	}
}

// deploymentBody is the page of a Deployment.
type deploymentBody struct {
	Name    string
	Get     picture.Part[fleet.DeploymentsGetResponse]
	Explain picture.Part[fleet.DeploymentExplainResponse]
}

// shownPairs is how many pairs, the gravest first, the page of a Deployment shows.
const shownPairs = 100

// Pairs returns the pairs that are shown.
func (b deploymentBody) Pairs() []fleet.PairView {
	return b.Get.Value.Pairs[:min(shownPairs, len(b.Get.Value.Pairs))]
}

// Left returns how many pairs are not shown.
func (b deploymentBody) Left() int {
	return b.Get.Value.Deployment.Status.Aggregate.MatchedDeviceCount - len(b.Pairs())
}

func loadDeployment(ctx context.Context, s *Server, v *view, name string, _ url.Values) error {
	v.Title = "Deployment " + name
	b := deploymentBody{Name: name}
	var err error
	b.Get, err = inquire(ctx, s, "deployment "+name, fleet.DeploymentsGet, fleet.GetRequest{Name: name},
		func(r fleet.DeploymentsGetResponse) fleet.Freshness { return r.Freshness })
	if err != nil && missing(err, b.Get.Got) {
		return err
	}
	b.Explain, _ = inquire(ctx, s, "explain "+name, fleet.DeploymentExplain, fleet.DeploymentExplainRequest{Deployment: fleet.DeploymentName(name)},
		func(r fleet.DeploymentExplainResponse) fleet.Freshness { return r.Freshness })
	v.Body = b
	return nil
}

// inquire asks an endpoint, or returns what it was answered a moment ago: see asked.
func inquire[Req, Resp any](ctx context.Context, s *Server, key string, ep fleet.Endpoint, req Req, fresh func(Resp) fleet.Freshness) (picture.Part[Resp], error) {
	return asked(ctx, s.cache, key, func(ctx context.Context) (a picture.Answer[Resp]) {
		a.Value, a.Err = rpc.Call[Req, Resp](ctx, s.cfg.NATS, ep, req)
		a.Fresh = fresh(a.Value)
		return a
	})
}

// missing reports whether an error leaves nothing to show: there is no such thing, or it was never answered.
func missing(err error, got time.Time) bool {
	return fleet.CodeOf(err) == fleet.CodeNotFound || got.IsZero()
}

// deviceBody is the page of a device.
type deviceBody struct {
	Name     string
	Get      picture.Part[fleet.DevicesGetResponse]
	Verdicts picture.Part[fleet.DeviceVerdictsResponse]
}

// StaleAfter is the silence after which the device is stale.
func (b deviceBody) StaleAfter() time.Duration {
	return time.Duration(b.Get.Value.StaleAfterSeconds * float64(time.Second))
}

func loadDevice(ctx context.Context, s *Server, v *view, name string, _ url.Values) error {
	v.Title = "Device " + name
	b := deviceBody{Name: name}
	var err error
	b.Get, err = inquire(ctx, s, "device "+name, fleet.DevicesGet, fleet.GetRequest{Name: name},
		func(r fleet.DevicesGetResponse) fleet.Freshness { return r.Freshness })
	if err != nil && missing(err, b.Get.Got) {
		return err
	}
	b.Verdicts, _ = inquire(ctx, s, "verdicts "+name, fleet.DeviceVerdicts,
		fleet.DeviceVerdictsRequest{Page: fleet.Page{Limit: fleet.MaxLimit}, Device: fleet.DeviceID(name)},
		func(r fleet.DeviceVerdictsResponse) fleet.Freshness { return r.Freshness })
	v.Body = b
	return nil
}

// loadHold asks for what the brake keeps back. It is a whole plan, which the reconciler computes.
func loadHold(ctx context.Context, s *Server, v *view, _ string, _ url.Values) error {
	v.Title = "What the brake keeps back"
	plan, err := inquire(ctx, s, "plan", fleet.PlanShow, fleet.PlanShowRequest{},
		func(r fleet.PlanShowResponse) fleet.Freshness { return r.Freshness })
	if err != nil && plan.Got.IsZero() {
		return err
	}
	v.Body = plan
	return nil
}

// devicesBody is a page of the list of devices.
type devicesBody struct {
	Class, Query string
	Items        []fleet.DeviceSummary
	Total        int    // that pass the filter
	Next         string // the link to the next page, "" on the last
}

// listed is how many devices a page of the list has.
const listed = 200

func loadDevices(_ context.Context, _ *Server, v *view, _ string, query url.Values) error {
	v.Title = "Devices"
	b := devicesBody{Class: query.Get("class"), Query: strings.ToLower(strings.TrimSpace(query.Get("q")))}
	after := query.Get("after")
	for _, d := range v.P.Devices.Value {
		if b.Class != "" && cell(d) != b.Class || !strings.Contains(string(d.Name), b.Query) {
			continue
		}
		b.Total++
		switch {
		case string(d.Name) <= after:
		case len(b.Items) < listed:
			b.Items = append(b.Items, d)
		case b.Next == "":
			b.Next = "/devices?" + url.Values{"class": {b.Class}, "q": {b.Query}, "after": {string(b.Items[listed-1].Name)}}.Encode()
		}
	}
	v.Body = b
	return nil
}
