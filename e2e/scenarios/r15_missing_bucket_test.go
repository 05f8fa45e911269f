package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

var buckets = record.Buckets()

// Fault:   a NATS server without any bucket; later a restart of everything.
// Promise: each bucket is created once, and its configuration is the same after every start.
// Budget:  ready within 60 s.
// Found:   -
func TestR15_MissingBucketsAreCreatedOnce(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	services := s.StartServices()
	before := configurations(t, s)
	if len(before) != len(buckets) {
		t.Fatalf("buckets: %v", before)
	}
	fault.Inject(s, fault.Kill(services))
	start := time.Now()
	fault.Heal(s, fault.Kill(services))
	s.WaitReady(3)
	s.Measured("ready after the restart", time.Since(start), time.Minute)
	if d := lab.Changed("", before, configurations(t, s)); len(d) > 0 {
		t.Errorf("a restart changed the buckets: %q", d)
	}
}

// configurations are the streams as the server has them, with the time of their creation.
func configurations(t *testing.T, s *lab.Stack) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, b := range buckets {
		stream, err := s.NATS.JetStream().Stream(t.Context(), fleet.StreamName(b))
		if err != nil {
			t.Fatalf("bucket %s: %v", b, err)
		}
		info := stream.CachedInfo()
		doc, err := json.Marshal(info.Config)
		if err != nil {
			t.Fatal(err)
		}
		out[b] = fmt.Sprintf("%s %s", info.Created, doc)
	}
	return out
}

// Fault:   NATS runs without JetStream.
// Promise: the services say so, as degraded, and do not exit; they recover when it is there.
// Budget:  recovered within 60 s.
// Found:   -
func TestR15_JetStreamNotEnabled(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	fault.Inject(s, fault.NoJetStream{})
	var services []*lab.Instance
	for _, name := range fleet.Services() {
		services = append(services, s.Start(name))
	}
	degraded(t, s, len(services), "NoJetStream", "")
	for _, i := range services {
		if !i.Running() {
			t.Errorf("%s ended", i.ID())
		}
	}
	fault.Heal(s, fault.NoJetStream{})
	start := time.Now()
	s.WaitReady(len(services))
	s.Measured("ready after JetStream is there", time.Since(start), time.Minute)
}

// Fault:   all buckets exist with a configuration that has no fence, as a person makes them with the nats command.
// Promise: each service says so, with the bucket; nothing is changed or written; "fleet doctor" finds every one.
// Budget:  reported within 60 s.
// Found:   -
func TestR15_WrongConfigurationIsReported(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	for _, b := range buckets {
		fault.Inject(s, fault.StrangeBucket(b))
	}
	before := configurations(t, s)
	start := time.Now()
	for _, service := range fleet.Services() {
		s.Start(service)
	}
	degraded(t, s, len(fleet.Services()), "BucketConfig", "")
	for _, bucket := range []string{fleet.BucketResources, fleet.BucketDesiredState, fleet.BucketDeviceState} {
		degraded(t, s, 1, "BucketConfig", bucket)
	}
	s.Measured("reported after the start", time.Since(start), time.Minute)
	out, _ := s.FleetCommand(t.Context(), "doctor")
	for _, bucket := range buckets {
		if !regexp.MustCompile(`BucketConfig +` + bucket).MatchString(out) {
			t.Errorf("fleet doctor does not find %s:\n%s", bucket, out)
		}
	}
	if d := lab.Changed("", before, configurations(t, s)); len(d) > 0 {
		t.Errorf("buckets were changed: %q", d)
	}
	for _, b := range buckets {
		if n := lastSequence(t, s, b); n != 0 {
			t.Errorf("%s was written: it is at %d", b, n)
		}
	}
	for _, i := range s.Instances("") {
		if !i.Running() {
			t.Errorf("%s ended", i.ID())
		}
	}
}

// degraded waits until n instances say that they are degraded for a reason, and name what is wrong.
func degraded(t *testing.T, s *lab.Stack, n int, reason, what string) {
	t.Helper()
	s.Eventually(60*time.Second, fmt.Sprintf("%d instances degraded because of %s %s", n, reason, what), func(ctx context.Context) error {
		said := 0
		hs := s.Health(ctx)
		for _, h := range hs {
			for _, r := range h.Reasons {
				if h.State == fleet.StateDegraded && !h.Ready && r.Reason == reason && strings.Contains(r.Message, what) {
					said++
					break
				}
			}
		}
		if said < n {
			return fmt.Errorf("only %d say so: %+v", said, hs)
		}
		return nil
	})
}
