package invariant

import (
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// speak has devices speak for some time, each once in the usual interval.
func (s *script) speak(d time.Duration, devices ...string) *script {
	for end := s.now.Add(d); s.now.Before(end); s.beat(devices...) {
		s.after(30 * time.Second)
	}
	return s
}

func TestSilenceMeansStale_NotTooMany(t *testing.T) {
	oneStale := func(s *script) { s.say(status(1, 1, 0, 0, 1)) }
	judged(t, silenceMeansStale, []example{
		{"of those that speak", func(s *script) { oneStale(s.speak(2*time.Minute, "pi-1", deviceTwo, "pi-3")) }, "counts 1 devices as stale, but only 0 may have been silent"},
		{"more than are silent", func(s *script) { s.speak(2*time.Minute, "pi-1", "pi-3").say(status(1, 0, 0, 0, 2)) }, "counts 2 devices as stale, but only 1"},
		{"one that is silent and not meant", func(s *script) { oneStale(s.speak(2*time.Minute, "pi-1", deviceTwo)) }, "but only 0"},
		{"for too short", func(s *script) { oneStale(s.speak(2*time.Minute, "pi-1", deviceTwo).after(40 * time.Second)) }, "but only 0"},
		{"one that is back for a while", func(s *script) {
			s.speak(2*time.Minute, "pi-1")
			oneStale(s.speak(time.Minute, "pi-1", deviceTwo))
		}, "but only 0"},

		{"silent for long enough", func(s *script) { oneStale(s.speak(2*time.Minute, "pi-1")) }, ""},
		{"silent as a view that lies behind may judge", func(s *script) { oneStale(s.after(50 * time.Second)) }, ""},
		{"back this moment", func(s *script) { s.speak(2*time.Minute, "pi-1").beat(deviceTwo); oneStale(s) }, ""},
		{"by a patcher that was stopped meanwhile", func(s *script) {
			s.speak(2*time.Minute, "pi-1").process(record.ProcessPaused, fleet.ServicePatcher)
			s.speak(2*time.Minute, "pi-1", deviceTwo).process(record.ProcessContinued, fleet.ServicePatcher)
			oneStale(s)
		}, ""},
		{"its heartbeat was deleted", func(s *script) {
			s.speak(2*time.Minute, "pi-1", deviceTwo)
			s.op(record.Op{Bucket: fleet.BucketDeviceHeartbeat, Key: "heartbeat.pi-2", Kind: record.OpDelete})
			oneStale(s)
		}, ""},
		{"the heartbeats were lost", func(s *script) {
			s.speak(2*time.Minute, "pi-1", deviceTwo).fault("lost-keys", "it", fleet.BucketDeviceHeartbeat)
			oneStale(s)
		}, ""},
		{"as the aggregator was told", func(s *script) {
			s.aggregator("--heartbeat-interval=2s", "--stale-after=6s")
			s.speak(2*time.Minute, "pi-1", deviceTwo)
			oneStale(s.after(5 * time.Second))
		}, ""},
		{"on a key that may not have been seen", func(s *script) {
			s.speak(2*time.Minute, "pi-1", deviceTwo).op(record.Op{Bucket: fleet.BucketDesiredState, Key: fleet.KeyLease, Missed: 1})
			oneStale(s)
		}, ""},
	})
}

// aggregator starts one with flags.
func (s *script) aggregator(flags ...string) {
	s.add(record.Event{Process: &record.Process{Kind: record.ProcessStarted, Service: fleet.ServiceAggregator, Instance: "aggregator-2", Args: flags}})
}

func TestSilenceMeansStale_NotTooFew(t *testing.T) {
	const long = 5 * time.Minute
	tells := func(s *script, h record.Health) {
		h.Service, h.Instance, h.Ready = fleet.ServiceAggregator, "aggregator-1", true
		s.add(record.Event{Health: &h})
	}
	judged(t, silenceMeansStale, []example{
		{"silent while others speak", func(s *script) { s.speak(long, deviceTwo).rest() }, "counts 0 devices as stale, but 1 have been silent for long"},
		{"after the rest", func(s *script) { s.rest(); s.speak(long, deviceTwo) }, "but 1 have"},
		{"one of two is not counted", func(s *script) {
			s.speak(long, "pi-3").say(status(1, 1, 0, 0, 1))
			s.rest()
		}, "counts 1 devices as stale, but 2"},
		{"forgotten again", func(s *script) {
			s.speak(long, deviceTwo).say(status(1, 1, 0, 0, 1))
			s.rest()
			s.speak(time.Minute, deviceTwo).say(status(1, 2))
		}, "counts 0 devices as stale, but 1"},
		{"the whole fleet, which was cut off", func(s *script) {
			s.process(record.ProcessStarted, "fleet-sim")
			s.rest()
			s.fault("nats-refused", "fleet-sim-1 (pid 7)")
			tells(s, record.Health{Reasons: []fleet.Reason{{Reason: fleet.ReasonHeartbeatsSilent}}})
			s.after(6 * time.Minute)
		}, "counts 0 devices as stale, but 2"},
		{"until something happens", func(s *script) {
			s.rest()
			s.after(6*time.Minute).fault("cut", "patcher-1")
		}, "but 2 have"},

		{"all speak", func(s *script) { s.speak(long, "pi-1", deviceTwo).rest() }, ""},
		{"counted", func(s *script) { s.speak(long, deviceTwo).say(status(1, 1, 0, 0, 1)); s.rest() }, ""},
		{"silent for less than twice the time", func(s *script) { s.speak(150*time.Second, deviceTwo).rest() }, ""},
		{"it has sent a report", func(s *script) {
			s.speak(long/2, deviceTwo).report("pi-1", fleet.PhaseRunning, value(webUID, oldScore))
			s.speak(long/2, deviceTwo).rest()
		}, ""},
		{"not at rest", func(s *script) { s.speak(long, deviceTwo).restReady(false) }, ""},
		{"the fleet is silent, and not for long", func(s *script) { s.rest(); s.after(long) }, ""},
		{"a silence of the fleet ended meanwhile", func(s *script) { s.after(4*time.Minute).speak(2*time.Minute, deviceTwo).rest() }, ""},
		{"an aggregator was started meanwhile", func(s *script) {
			s.speak(4*time.Minute, deviceTwo).aggregator()
			s.speak(2*time.Minute, deviceTwo).rest()
		}, ""},
		{"a source is read again", func(s *script) {
			s.speak(4*time.Minute, deviceTwo)
			tells(s, record.Health{Pass: 6})
			s.speak(2*time.Minute, deviceTwo).rest()
		}, ""},
		{"after the rest a server is away", func(s *script) {
			s.rest()
			s.fault("nats-kill", "nats-1")
			s.speak(long, deviceTwo)
		}, ""},
		{"a service is cut off, too", func(s *script) {
			s.process(record.ProcessStarted, "fleet-sim")
			s.rest()
			s.fault("nats-refused", "fleet-sim-1 (pid 7), fleet-aggregator-1 (pid 8)")
			s.after(6 * time.Minute)
		}, ""},
		{"its heartbeat was deleted", func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDeviceHeartbeat, Key: "heartbeat.pi-1", Kind: record.OpDelete})
			s.speak(long, deviceTwo).rest()
		}, ""},
		{"the heartbeats were lost", func(s *script) {
			s.stream(fleet.BucketDeviceHeartbeat, record.StreamEmptied, 0)
			s.speak(long, deviceTwo).rest()
		}, ""},
		{"a message may have been its own", func(s *script) {
			s.speak(long, deviceTwo).op(record.Op{Bucket: fleet.BucketDeviceHeartbeat, Key: "heartbeat.pi-2", Missed: 1})
			s.rest()
		}, ""},
		{"as the aggregator was told", func(s *script) {
			s.aggregator("--stale-after", "10m", "--silence-after", "30m")
			s.speak(long, deviceTwo).rest()
		}, ""},
		{"being deleted", func(s *script) {
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Deleting = true })
			s.speak(long, deviceTwo).rest()
		}, ""},
	})
}
