package protocol

import (
	"time"

	"harmony.dev/fleet"
)

// Config is what a [Machine] needs to know. Zero durations mean the defaults.
type Config struct {
	Device fleet.DeviceID
	Info   fleet.DeviceInfo
	Seed   uint64 // of all jitter; devices must differ

	Heartbeat     time.Duration // between heartbeats, ± 20 %; default 30 s
	Resync        time.Duration // between snapshot requests, ± 50 %, a quarter of it after an incomplete answer; default 10 min
	ResyncJitter  time.Duration // a resync that is asked for happens within; default 3 s
	ConnectJitter time.Duration // after connecting everything is sent within; default 500 ms
	// ResumeGrace is how long after a start the last report of a workload stands until the runtime has
	// said how it is; then it counts as pending. Default 10 s.
	ResumeGrace time.Duration

	Ask     Backoff // snapshot requests that were not answered; default 500 ms to 30 s
	Publish Backoff // publishes that were not acknowledged; default 200 ms to 15 s
	Runtime Backoff // workloads that could not be applied or removed; default 5 s to 5 min
}

// Validate checks device and info against the contract.
func (c Config) Validate() error {
	if err := c.Device.Validate(); err != nil {
		return err
	}
	return c.Info.Validate()
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Heartbeat, 30 * time.Second},
		{&c.Resync, 10 * time.Minute},
		{&c.ResyncJitter, 3 * time.Second},
		{&c.ConnectJitter, 500 * time.Millisecond},
		{&c.ResumeGrace, 10 * time.Second},
		{&c.Ask.Min, 500 * time.Millisecond},
		{&c.Ask.Max, 30 * time.Second},
		{&c.Publish.Min, 200 * time.Millisecond},
		{&c.Publish.Max, 15 * time.Second},
		{&c.Runtime.Min, 5 * time.Second},
		{&c.Runtime.Max, 5 * time.Minute},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return c
}
