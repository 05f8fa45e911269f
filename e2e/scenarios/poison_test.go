package scenarios

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// nested is a document that is deeper than the contract allows.
func nested(levels int) string {
	return strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels)
}

// aside returns what an instance of a service has set aside of a source: the number, and the entries it shows,
// by key.
func aside(ctx context.Context, s *lab.Stack, service, source string) (int, map[string]fleet.Poison, error) {
	for _, h := range s.Health(ctx) {
		if h.Service != service {
			continue
		}
		for _, src := range h.Sources {
			if src.Name != source {
				continue
			}
			shown := map[string]fleet.Poison{}
			for _, p := range src.Set {
				shown[p.Key] = p
			}
			return src.Poison, shown, nil
		}
	}
	return 0, nil, fmt.Errorf("%s does not say how %s is", service, source)
}

// setAside waits until a service shows exactly these entries of a source as set aside, and whether an earlier
// value is kept.
func setAside(t *testing.T, s *lab.Stack, service, source string, want map[string]bool) (shown map[string]fleet.Poison) {
	t.Helper()
	var last error
	s.Eventually(20*time.Second, fmt.Sprintf("%d entries of %s set aside by %s", len(want), source, service), func(ctx context.Context) error {
		var n int
		var err error
		if n, shown, err = aside(ctx, s, service, source); err != nil {
			return errors.Join(last, err)
		}
		got := map[string]bool{}
		for key, p := range shown {
			got[key] = p.Kept
			if p.Bucket != source || p.Error == "" || p.Revision == 0 {
				return fmt.Errorf("an entry without its particulars: %+v", p)
			}
		}
		if d := lab.Changed("", want, got); n != len(want) || len(d) > 0 {
			last = fmt.Errorf("%d are: %q", n, d)
			return last
		}
		return nil
	})
	return shown
}

// readiness is what every instance said from its start on.
type readiness struct {
	stop  func()
	looks int      // answers seen
	bad   []string // those that were not ready
}

func watchReadiness(s *lab.Stack) *readiness {
	r := &readiness{}
	r.stop = watchHealth(s, func(h fleet.Health) {
		if r.looks++; !h.Ready {
			r.bad = append(r.bad, fmt.Sprintf("%s is %s: %v", h.Instance, h.State, h.Reasons))
		}
	})
	return r
}

// end ends the look-out; the test fails when any instance was not ready in between, or silent all the time.
func (r *readiness) end(t *testing.T) {
	t.Helper()
	r.stop()
	if r.looks < 2*len(fleet.Services()) {
		t.Errorf("only %d answers of services", r.looks)
	}
	if len(r.bad) > 0 {
		t.Errorf("%d of %d answers say that a service is not ready, the first: %s", len(r.bad), r.looks, r.bad[0])
	}
}

// only is the part of a map that keep wants.
func only[V any](m map[string]V, keep func(key string) bool) map[string]V {
	out := map[string]V{}
	for key, v := range m {
		if keep(key) {
			out[key] = v
		}
	}
	return out
}
