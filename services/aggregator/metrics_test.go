package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"harmony.dev/fleet"
)

// scrape returns the samples of a replica that was started with [served], by metric and the labels that they have:
// `fleet_devices{state="Fresh"}`.
func (a *replica) scrape(addressFile string) map[string]float64 {
	a.rig.t.Helper()
	address, err := os.ReadFile(addressFile)
	if err != nil {
		return nil // it is not there yet
	}
	req, err := http.NewRequestWithContext(a.rig.ctx, http.MethodGet, "http://"+strings.TrimSpace(string(address))+"/metrics", nil)
	if err != nil {
		a.rig.t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		a.rig.t.Fatal(err)
	}
	samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, values(families)...)
	if err != nil {
		a.rig.t.Fatal(err)
	}
	got := map[string]float64{}
	for _, s := range samples {
		got[s.Metric.String()] = float64(s.Value)
	}
	return got
}

func values[K comparable, V any](m map[K]V) []V {
	all := make([]V, 0, len(m))
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// A status that shows a report is measured from the server's stamp of the report, also when it is late. What was there
// before the instance took the lease is not: nobody knows who showed it when.
func TestMetrics_ReportToStatus(t *testing.T) {
	r := newRig(t)
	before := r.acting("a0")
	address := filepath.Join(t.TempDir(), "http")
	a := r.start("a1", "--http-listen", "127.0.0.1:0", "--http-address-file", address)
	r.eventually("the other has all in view", func() bool { return a.health().Ready })
	ids := r.fleetOf(2)
	r.registered(ids...)
	value := r.running("web", ids...)
	before.stop()
	a.acts()
	const count, sum = "fleet_aggregator_report_to_status_seconds_count", "fleet_aggregator_report_to_status_seconds_sum"
	if got := a.scrape(address); got[count] != 0 {
		t.Errorf("%v statuses are measured that show what was there before", got[count])
	}

	r.patcher.hook(func(_, _ string) error { return fleet.Errorf(fleet.CodeInternal, "Refused", "not now") })
	r.report(ids[0], "web", fleet.PhaseFailed, value)
	refused := len(r.patcher.requests("status"))
	r.eventually("the status is refused again and again", func() bool { return len(r.patcher.requests("status")) > refused+2 })
	if got := a.scrape(address); got[count] != 0 {
		t.Errorf("%v statuses are measured that nobody has taken", got[count])
	}
	r.patcher.hook(nil)
	r.eventually("it is measured once it is taken", func() bool { return a.scrape(address)[count] == 1 })
	if got := a.scrape(address); got[sum] < 0.05 || got[sum] > soon.Seconds() {
		t.Errorf("it took %v s", got[sum])
	}
}

func TestMetrics_CountByState(t *testing.T) {
	r := newRig(t)
	address := filepath.Join(t.TempDir(), "http")
	a := r.acting("a1", "--http-listen", "127.0.0.1:0", "--http-address-file", address)
	ids := r.fleetOf(2)
	r.registered(ids...)
	r.fenced(fleet.BucketResources, fleet.DeviceKey("unheard"), fleet.MirrorDevice{UID: "uid-unheard"})
	r.running("web", ids...)
	r.deployment("late", 1, `1`)
	want := map[string]float64{
		`fleet_devices{state="Fresh"}`: 2, `fleet_devices{state="Stale"}`: 0, `fleet_devices{state="NeverSeen"}`: 1,
		`fleet_deployments{state="Ready"}`: 1, `fleet_deployments{state="Reconciling"}`: 1, `fleet_deployments{state="Stalled"}`: 0,
		`fleet_pairs{class="running"}`: 2, `fleet_aggregator_mirror_whole`: 1,
	}
	r.eventually("the counts are shown", func() bool {
		got := a.scrape(address)
		for series, n := range want {
			if v, found := got[series]; !found || v != n {
				return false
			}
		}
		return true
	})
}
