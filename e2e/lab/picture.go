package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"harmony.dev/e2e/invariant"
	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// Picture is all that a fault may or may not change: every resource and every key.
type Picture struct {
	Resources map[string]Resource
	Keys      map[string]map[string]Entry // by bucket; without book-keeping

	listed []record.Write
}

// Picture takes one of the whole stack. Heartbeats are left out: they go on.
func (s *Stack) Picture(ctx context.Context) (Picture, error) {
	p := Picture{Keys: map[string]map[string]Entry{}}
	var err error
	if p.listed, err = s.API.Listed(ctx); err != nil {
		return p, err
	}
	p.Resources = byName(p.listed)
	buckets := []string{fleet.BucketDesiredState, fleet.BucketResources, fleet.BucketDeviceInfo, fleet.BucketDeviceState}
	keys, errs := make([]map[string]Entry, len(buckets)), make([]error, len(buckets))
	var reading sync.WaitGroup
	for i, b := range buckets {
		reading.Go(func() { keys[i], errs[i] = s.NATS.Keys(ctx, b) })
	}
	reading.Wait()
	for i, b := range buckets {
		p.Keys[b] = keys[i]
	}
	return p, errors.Join(errs...)
}

// MustPicture is Picture for when the stack is healthy.
func (s *Stack) MustPicture() Picture {
	s.t.Helper()
	p, err := s.Picture(s.t.Context())
	if err != nil {
		s.t.Fatalf("take a picture of the stack: %v", err)
	}
	return p
}

// quiet is how long nothing must change: statuses are written once a second.
const quiet = 1500 * time.Millisecond

// AtRest waits until two pictures are equal with [quiet] between the end of one and the begin of the other, and
// returns the last. The checkers judge what is there then: with every service ready, what is written must be
// what is wanted.
func (s *Stack) AtRest() Picture {
	s.t.Helper()
	last := s.MustPicture()
	at := time.Now()
	s.Eventually(60*time.Second, "the stack at rest", func(ctx context.Context) error {
		began := time.Now()
		now, err := s.Picture(ctx)
		if err != nil {
			return err
		}
		if d := Difference(last, now); len(d) > 0 {
			last, at = now, time.Now()
			return fmt.Errorf("still changing: %v", d)
		}
		if began.Sub(at) < quiet {
			return fmt.Errorf("not quiet for %s yet", quiet)
		}
		return nil
	})
	s.note(record.Event{Rest: s.rest(last)})
	return last
}

// Converged waits until n instances are ready and what is written is what is wanted, as the checkers judge
// it, and then until nothing changes any more.
func (s *Stack) Converged(within time.Duration, n int) {
	s.t.Helper()
	s.Eventually(within, "what is written to be what is wanted", func(ctx context.Context) error {
		if err := s.Ready(ctx, n); err != nil {
			return err
		}
		p, err := s.Picture(ctx)
		if err != nil {
			return err
		}
		rest := s.rest(p)
		if !rest.Ready { // nobody would judge it
			return errors.New("the services are not ready any more")
		}
		if violations := invariant.Judge(record.Recording{{At: time.Now(), Rest: rest}}); len(violations) > 0 {
			return errors.New(invariant.Text(violations, 5))
		}
		return nil
	})
	s.AtRest()
}

// rest is a picture for the checkers. It counts as ready when every service answers, all of their
// instances are ready and at rest, and one of each acts.
func (s *Stack) rest(p Picture) *record.Rest {
	rest := &record.Rest{Resources: p.listed, Keys: map[string]map[string]record.Entry{}}
	for bucket, keys := range p.Keys {
		rest.Keys[bucket] = map[string]record.Entry{}
		for key, e := range keys {
			rest.Keys[bucket][key] = record.Entry{Revision: e.Revision, Value: e.Value, Stamp: e.Stamp}
		}
	}
	rest.Ready = atRest(s.everyHealth(s.t.Context())) == nil
	return rest
}

// everyHealth is Health, asked again for a while when fewer instances answer than run: on a busy machine an answer may
// be late, and that is no sign of anything.
func (s *Stack) everyHealth(ctx context.Context) (hs []fleet.Health) {
	running := 0
	for _, service := range fleet.Services() {
		for _, i := range s.Instances(service) {
			if i.Running() {
				running++
			}
		}
	}
	for range 10 {
		if hs = s.Health(ctx); len(hs) >= running {
			break
		}
	}
	return hs
}

// atRest returns why these instances are not all ready and at rest, with one lease holder of each service.
func atRest(hs []fleet.Health) error {
	holders := map[string]int{}
	for _, h := range hs {
		if h.State != fleet.StateReady || !h.Ready {
			return fmt.Errorf("%s is %s: %v", h.Instance, h.State, h.Reasons)
		}
		if h.Lease != nil && h.Lease.Held && h.Lease.Epoch > 0 {
			holders[h.Service]++
		}
	}
	for service, held := range holders {
		if held != 1 {
			return fmt.Errorf("%s has %d lease holders", service, held)
		}
	}
	if len(holders) != len(fleet.Services()) {
		return fmt.Errorf("lease holders: %v", holders)
	}
	return nil
}

// Difference names what differs between two pictures, at most ten things.
func Difference(a, b Picture) []string {
	out := Changed("", a.Resources, b.Resources)
	for _, bucket := range slices.Sorted(maps.Keys(a.Keys)) {
		out = append(out, Changed(bucket+"/", a.Keys[bucket], b.Keys[bucket])...)
	}
	if more := len(out) - 10; more > 0 {
		out = append(out[:10], fmt.Sprintf("and %d more", more))
	}
	return out
}

// Changed names the keys whose values differ between two maps.
func Changed[V comparable](prefix string, a, b map[string]V) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(a)) {
		v, ok := b[k]
		switch {
		case !ok:
			out = append(out, fmt.Sprintf("%s%s is gone", prefix, k))
		case v != a[k]:
			out = append(out, fmt.Sprintf("%s%s changed from %v to %v", prefix, k, a[k], v))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[k]; !ok {
			out = append(out, fmt.Sprintf("%s%s is new", prefix, k))
		}
	}
	return out
}
