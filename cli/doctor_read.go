package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/cli/doctor"
	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
)

// errStopped says that Ctrl-C came before all was seen: half a picture would look healthier than it is.
var errStopped = errors.New("stopped before everything was looked at")

// examination reads what the doctor judges.
type examination struct {
	p       *program
	nc      *nats.Conn
	refused *refusals
	within  time.Duration // for all buckets together
	exam    *doctor.Exam

	asked, answered time.Time // when the services were, by the clock here
	services        []doctor.Service
	timed           bool // their clocks were judged
}

// run brings everything before the doctor. What cannot be read is a finding; only a stop is an error.
func (e *examination) run(ctx context.Context, wait time.Duration) error {
	if err := kv.CheckServer(e.nc); err != nil {
		e.exam.TooOld(err)
		return nil
	}
	if deaf, err := e.ask(ctx, wait); deaf || err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, e.within)
	defer cancel()
	for _, bucket := range []string{
		fleet.BucketResources, // the first: it says which devices there are
		fleet.BucketDesiredState, fleet.BucketLeases, fleet.BucketDeviceInfo, fleet.BucketDeviceState, fleet.BucketDeviceHeartbeat,
	} {
		err := e.bucket(bounded, bucket)
		if ctx.Err() != nil {
			return errStopped
		}
		if errors.Is(err, kv.ErrNoJetStream) { // there is no other bucket either
			e.exam.WithoutJetStream(err)
			return nil
		}
	}
	return nil
}

// ask asks the services how they are. It returns deaf when this connection may not hear answers.
func (e *examination) ask(ctx context.Context, wait time.Duration) (deaf bool, err error) {
	e.asked = time.Now()
	services, err := gatherHealth(ctx, e.nc, wait)
	e.answered = time.Now()
	switch {
	case ctx.Err() != nil:
		return false, errStopped
	case err != nil:
		return false, err
	}
	refused := e.refused.take()
	if len(refused.Subscribe) > 0 {
		e.exam.Refused(doctor.Refusal{Subscribe: refused.Subscribe})
		return true, nil
	}
	for _, s := range services {
		d := doctor.Service{Name: s.Service, Replicas: s.Replicas}
		if subject := fleet.HealthEndpoint(s.Service).Subject; slices.Contains(refused.Publish, subject) {
			d.Refused = []string{subject}
		}
		e.services = append(e.services, d)
	}
	e.exam.Shell.Fleet = fleetOf(services)
	e.exam.Services(e.services)
	return false, nil
}

// bucket looks at one bucket. What the server refuses ends the look at once, and is a finding.
func (e *examination) bucket(ctx context.Context, name string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.refused.tell(cancel)
	err := e.read(ctx, name)
	if refused := e.refused.take(); len(refused.Publish)+len(refused.Subscribe) > 0 {
		refused.Bucket = name
		e.exam.Refused(refused)
		return nil
	}
	switch {
	case err == nil:
		e.exam.Read(name)
	case errors.Is(err, kv.ErrBucketMissing):
		e.exam.Missing(name)
	case errors.Is(err, errBeingRestored), errors.Is(err, kv.ErrNoJetStream):
	default:
		e.exam.Unreadable(name, err)
	}
	return err
}

// errBeingRestored says that a bucket is closed, and why: that is a finding already.
var errBeingRestored = errors.New("the bucket is being restored")

func (e *examination) read(ctx context.Context, name string) error {
	b := kv.Open(e.nc, name, kv.Provisioning{})
	if busy, err := b.Restoring(ctx); err == nil && busy != nil {
		e.exam.Restoring(doctor.Restoration{Bucket: name, Since: busy.Since, Open: busy.Open, Intact: busy.Intact})
		if !busy.Open {
			return errBeingRestored
		}
	}
	s, err := b.Survey(ctx)
	if err != nil {
		return err
	}
	e.clocks(s.Time)
	if e.exam.Shell.Fleet == "" {
		e.exam.Shell.Fleet = s.Fleet // no service answered
	}
	e.exam.Config(doctor.Config{
		Bucket: name, Fleet: s.Fleet, Differences: s.Differences, Edit: request(s.Edit), Delete: request(s.Delete),
	})
	shown, done := e.p.progress("reading "+name, "entries", s.Messages), uint64(0)
	defer shown.end()
	return b.Scan(ctx, func(m kv.Message) {
		done++
		shown.at(done)
		e.message(name, m, s.Time)
	})
}

// clocks judges the services' clocks by the server's, the first time that this is known: the clock here may be wrong, too.
func (e *examination) clocks(server time.Time) {
	if e.timed || server.IsZero() {
		return
	}
	e.timed = true
	ahead := time.Until(server)
	e.exam.Clocks(e.services, e.asked.Add(ahead), e.answered.Add(ahead))
}

func (e *examination) message(bucket string, m kv.Message, now time.Time) {
	if m.Op != kv.Put {
		e.exam.Gone(bucket, m.Key)
		return
	}
	e.exam.Entry(doctor.Entry{
		Bucket: bucket, Key: m.Key, Revision: m.Revision, Value: m.Value, Own: m.Epoch() != 0, Stored: m.Time,
	}, now.Sub(m.Time))
}

// fleetOf returns the fleet that the services say they run.
func fleetOf(services []serviceStatus) string {
	var names []string
	for _, s := range services {
		for _, h := range s.Replicas {
			names = append(names, h.Fleet)
		}
	}
	return doctor.FleetOf(names)
}

// natsFlags returns how the nats command reaches the same server. A URL with a password in it is left out:
// what is printed is copied into tickets.
func natsFlags(s server) []string {
	if s.context != "" {
		return []string{"--context", s.context}
	}
	var flags []string
	if !strings.Contains(s.url, "@") && s.url != nats.DefaultURL {
		flags = append(flags, "--server", s.url)
	}
	if s.creds != "" {
		flags = append(flags, "--creds", s.creds)
	}
	return flags
}
