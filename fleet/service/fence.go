package service

import (
	"github.com/prometheus/client_golang/prometheus"

	"harmony.dev/fleet/kv"
)

// fence shows how often the fence of a bucket refused a write of this instance. It keeps nothing: each scrape asks.
type fence struct {
	refusals func() kv.Refusals
	desc     *prometheus.Desc
}

// NewFence returns what shows the refusals of an elector, of the lease of that bucket, as metrics.
func NewFence(bucket string, refusals func() kv.Refusals) prometheus.Collector {
	return &fence{refusals: refusals, desc: prometheus.NewDesc(
		"fleet_fence_refusals_total",
		"Writes that the server refused because of the fence: a newer holder exists (deposed), or another write was under way and this one was tried again (collided).",
		[]string{"outcome"}, prometheus.Labels{"bucket": bucket},
	)}
}

// Describe sends the description.
func (f *fence) Describe(out chan<- *prometheus.Desc) { out <- f.desc }

// Collect asks the elector.
func (f *fence) Collect(out chan<- prometheus.Metric) {
	r := f.refusals()
	out <- prometheus.MustNewConstMetric(f.desc, prometheus.CounterValue, float64(r.Deposed), "deposed")
	out <- prometheus.MustNewConstMetric(f.desc, prometheus.CounterValue, float64(r.Collided), "collided")
}
