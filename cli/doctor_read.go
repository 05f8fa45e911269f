package main

import (
	"context"
	"errors"
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
	nc     *nats.Conn
	within time.Duration // for all buckets together
	exam   *doctor.Exam
}

// run brings everything before the doctor. What cannot be read is a finding; only a stop is an error.
func (e *examination) run(ctx context.Context, services []serviceStatus) error {
	var all []doctor.Service
	for _, s := range services {
		all = append(all, doctor.Service{Name: s.Service, Replicas: s.Replicas})
	}
	e.exam.Services(all)
	bounded, cancel := context.WithTimeout(ctx, e.within)
	defer cancel()
	for _, bucket := range []string{
		fleet.BucketResources, // the first: it says which devices there are
		fleet.BucketDesiredState, fleet.BucketLeases, fleet.BucketDeviceInfo, fleet.BucketDeviceState, fleet.BucketDeviceHeartbeat,
	} {
		e.bucket(bounded, bucket)
		if ctx.Err() != nil {
			return errStopped
		}
	}
	return nil
}

func (e *examination) bucket(ctx context.Context, name string) {
	b := kv.Open(e.nc, name, kv.Provisioning{})
	if busy, err := b.Restoring(ctx); err == nil && busy != nil {
		e.exam.Restoring(doctor.Restoration{Bucket: name, Since: busy.Since, Open: busy.Open, Intact: busy.Intact})
		if !busy.Open {
			return
		}
	}
	s, err := b.Survey(ctx)
	if errors.Is(err, kv.ErrBucketMissing) {
		e.exam.Missing(name)
		return
	}
	if err == nil {
		if e.exam.Shell.Fleet == "" {
			e.exam.Shell.Fleet = s.Fleet // no service answered
		}
		e.exam.Config(doctor.Config{
			Bucket: name, Fleet: s.Fleet, Differences: s.Differences, Edit: request(s.Edit), Delete: request(s.Delete),
		})
		err = b.Scan(ctx, func(m kv.Message) { e.message(name, m, s.Time) })
	}
	if err != nil {
		e.exam.Unreadable(name, err)
		return
	}
	e.exam.Read(name)
}

func (e *examination) message(bucket string, m kv.Message, now time.Time) {
	if m.Op != kv.Put {
		e.exam.Gone(bucket, m.Key)
		return
	}
	e.exam.Entry(doctor.Entry{
		Bucket: bucket, Key: m.Key, Revision: m.Revision, Value: m.Value, Own: m.Epoch() != 0,
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
