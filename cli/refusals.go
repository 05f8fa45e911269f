package main

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

	"harmony.dev/cli/doctor"
)

// refusals remembers what the server does not let a connection do. It says so beside the answers, and who waits for one of
// these waits in vain.
type refusals struct {
	mu     sync.Mutex
	now    doctor.Refusal
	cancel context.CancelFunc // whoever waits
}

// refusedSubject is how the server names what it refuses.
var refusedSubject = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "([^"]+)"`)

// note is an error handler of a connection.
func (r *refusals) note(_ *nats.Conn, _ *nats.Subscription, err error) {
	m := refusedSubject.FindStringSubmatch(err.Error())
	if !errors.Is(err, nats.ErrPermissionViolation) || m == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	of := &r.now.Publish
	if m[1] == "Subscription" || m[1] == "subscription" {
		of = &r.now.Subscribe
	}
	if subject := printable(m[2]); !slices.Contains(*of, subject) {
		*of = append(*of, subject)
	}
	if r.cancel != nil {
		r.cancel()
	}
}

// tell has a wait ended by the next refusal.
func (r *refusals) tell(cancel context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancel = cancel
}

// take returns what was refused since it was called before.
func (r *refusals) take() doctor.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now
	r.now, r.cancel = doctor.Refusal{}, nil
	return now
}
