package kube

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"harmony.dev/fleet"
)

// Metrics measures what the apiserver is asked for. A nil one measures nothing.
type Metrics struct {
	seconds *prometheus.HistogramVec
	watches *prometheus.CounterVec
}

// NewMetrics registers the metrics. The series of what goes well are there from the start.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "fleet_patcher_api_request_seconds",
			Help:    "Time of requests to the apiserver, without the wait for the client-side rate limit; of a watch until it has begun. The result is ok, error (no answer), or the apiserver's reason.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		}, []string{"resource", "verb", "result"}),
		watches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_patcher_watches_total",
			Help: "Watches that have begun. The apiserver ends each after some minutes; many mean that the connection does not last.",
		}, []string{"resource"}),
	}
	for _, k := range Kinds() {
		m.watches.WithLabelValues(k.Resource)
		for _, verb := range []string{"list", "watch", "patch"} {
			m.seconds.WithLabelValues(k.Resource, verb, resultOK)
		}
		m.seconds.WithLabelValues(k.Resource+"/status", "patch", resultOK)
	}
	m.seconds.WithLabelValues(fleet.ResourceDevices, "create", resultOK)
	for _, verb := range []string{"get", "create", "patch"} {
		m.seconds.WithLabelValues("events", verb, resultOK)
	}
	for _, c := range []prometheus.Collector{m.seconds, m.watches} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// took takes in a request that was begun then and has ended like this. One that the caller ended tells nothing.
func (m *Metrics) took(a act, began time.Time, err error) {
	if m == nil || errors.Is(err, context.Canceled) {
		return
	}
	m.seconds.WithLabelValues(a.resource, a.verb, resultOf(err)).Observe(time.Since(began).Seconds())
	if a.verb == "watch" && err == nil {
		m.watches.WithLabelValues(a.resource).Inc()
	}
}

// The results that are no reason of the apiserver.
const (
	resultOK    = "ok"
	resultError = "error" // no answer, or none of the apiserver's
	resultOther = "other" // a reason that Kubernetes does not know: an admission webhook may say anything
)

// knownReasons are those of Kubernetes.
var knownReasons = []metav1.StatusReason{
	metav1.StatusReasonUnauthorized, metav1.StatusReasonForbidden, metav1.StatusReasonNotFound, metav1.StatusReasonAlreadyExists,
	metav1.StatusReasonConflict, metav1.StatusReasonGone, metav1.StatusReasonInvalid, metav1.StatusReasonServerTimeout,
	metav1.StatusReasonTimeout, metav1.StatusReasonTooManyRequests, metav1.StatusReasonBadRequest, metav1.StatusReasonMethodNotAllowed,
	metav1.StatusReasonNotAcceptable, metav1.StatusReasonRequestEntityTooLarge, metav1.StatusReasonUnsupportedMediaType,
	metav1.StatusReasonInternalError, metav1.StatusReasonExpired, metav1.StatusReasonServiceUnavailable,
}

// resultOf names how a request ended, by one of a fixed number of words.
func resultOf(err error) string {
	if err == nil {
		return resultOK
	}
	reason := apierrors.ReasonForError(err)
	switch {
	case slices.Contains(knownReasons, reason):
		return string(reason)
	case isStatus(err):
		return resultOther
	}
	return resultError
}
