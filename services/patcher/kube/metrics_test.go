package kube

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What an admission webhook says is no word of ours: as a label it would make a series for each.
func TestMetrics_ResultsAreOfAFixedNumber(t *testing.T) {
	gr := schema.GroupResource{Group: "g", Resource: "devices"}
	webhook := func(n int) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReason(fmt.Sprintf("Mine%d", n)), Code: 422}}
	}
	tests := []struct {
		err  error
		want string
	}{
		{nil, "ok"},
		{apierrors.NewConflict(gr, "x", errors.New("y")), "Conflict"},
		{fmt.Errorf("wrapped: %w", apierrors.NewForbidden(gr, "x", errors.New("y"))), "Forbidden"},
		{webhook(1), "other"},
		{&apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 500}}, "other"},
		{errBrokeOff, "error"},
		{context.DeadlineExceeded, "error"},
	}
	for _, tt := range tests {
		if got := resultOf(tt.err); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
	registry := prometheus.NewRegistry()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	before := series(t, registry)
	for n := range 100 {
		m.took(act{verb: "patch", resource: "devices"}, time.Now(), webhook(n))
	}
	m.took(act{verb: "list", resource: "devices"}, time.Now(), fmt.Errorf("list: %w", context.Canceled))
	if n := series(t, registry) - before; n != 1 {
		t.Errorf("%d new series", n)
	}
}

func series(t *testing.T, from prometheus.Gatherer) (n int) {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		n += len(f.GetMetric())
	}
	return n
}
