package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// page is what one service exports.
type page struct {
	service  string
	text     []byte
	families map[string]*dto.MetricFamily
}

// running starts the operator with devices and a Deployment that they run, and returns what each service exports then.
func running(t *testing.T) []page {
	t.Helper()
	s := lab.New(t, lab.Options{Shipped: true})
	instances := s.StartServices()
	s.StartDevices(2)
	s.AwaitDevices(time.Minute, 2, "dev-")
	s.API.Apply(lab.Deployment{Name: "web", Selector: fleet.Selector{MatchLabels: map[string]string{"region": "north"}}})
	var pages []page
	s.Eventually(time.Minute, "the Deployment runs, and the services have measured it", func(ctx context.Context) error {
		pages = nil
		for _, i := range instances {
			p, err := scrape(ctx, i)
			if err != nil {
				return err
			}
			pages = append(pages, p)
		}
		return worked(pages)
	})
	return pages
}

// worked returns an error until all has happened that a Deployment makes happen.
func worked(pages []page) error {
	var missing []error
	for _, want := range []struct {
		metric string
		labels map[string]string
	}{
		{"fleet_pairs", map[string]string{"class": "running"}},
		{"fleet_deployments", map[string]string{"state": "Ready"}},
		{"fleet_aggregator_report_to_status_seconds", nil},
		{"fleet_patcher_requests_total", map[string]string{"endpoint": "status-apply", "outcome": "patched"}},
		{"fleet_patcher_events_total", map[string]string{"outcome": "recorded"}},
		{"fleet_patcher_api_request_seconds", map[string]string{"verb": "create", "resource": "events", "result": "ok"}},
		{"fleet_reconciler_plans_total", map[string]string{"outcome": "written"}},
	} {
		if !slices.ContainsFunc(pages, func(p page) bool { return p.has(want.metric, want.labels) }) {
			missing = append(missing, fmt.Errorf("no service has counted %s %v", want.metric, want.labels))
		}
	}
	return errors.Join(missing...)
}

func scrape(ctx context.Context, i *lab.Instance) (page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.HTTP()+"/metrics", nil)
	if err != nil {
		return page{}, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return page{}, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	return page{strings.TrimPrefix(i.Service(), "fleet-"), text, families}, err
}

// has reports whether a series with these labels is above 0.
func (p page) has(metric string, labels map[string]string) bool {
	for _, m := range p.families[metric].GetMetric() {
		is := map[string]string{}
		for _, l := range m.GetLabel() {
			is[l.GetName()] = l.GetValue()
		}
		fits := true
		for name, value := range labels {
			fits = fits && is[name] == value
		}
		if fits && m.GetGauge().GetValue()+m.GetCounter().GetValue()+float64(m.GetHistogram().GetSampleCount()) > 0 {
			return true
		}
	}
	return false
}

// series are what is exported: name of the series as queries have it, to label, to values.
type series map[string]map[string]map[string]bool

func seriesOf(pages []page) series {
	all := series{}
	for _, p := range pages {
		for name, f := range p.families {
			for _, m := range f.GetMetric() {
				for _, suffix := range suffixes(f) {
					all.add(name+suffix, m, suffix == "_bucket")
				}
			}
		}
	}
	return all
}

// suffixes are those of the series that make up a metric.
func suffixes(f *dto.MetricFamily) []string {
	switch f.GetType() {
	case dto.MetricType_HISTOGRAM:
		return []string{"_bucket", "_sum", "_count"}
	case dto.MetricType_SUMMARY:
		return []string{"", "_sum", "_count"}
	default:
		return []string{""}
	}
}

func (s series) add(name string, m *dto.Metric, bucket bool) {
	labels := s[name]
	if labels == nil {
		labels = map[string]map[string]bool{}
		s[name] = labels
	}
	put := func(label, value string) {
		if labels[label] == nil {
			labels[label] = map[string]bool{}
		}
		labels[label][value] = true
	}
	for _, l := range m.GetLabel() {
		put(l.GetName(), l.GetValue())
	}
	if bucket {
		put("le", "+Inf")
	}
	for _, q := range m.GetSummary().GetQuantile() {
		put("quantile", fmt.Sprint(q.GetQuantile()))
	}
}

// names are those of a family's labels, sorted.
func names(f *dto.MetricFamily) []string {
	all := map[string]bool{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			all[l.GetName()] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
