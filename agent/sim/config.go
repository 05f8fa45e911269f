package sim

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

// Config is a fleet of simulated devices.
type Config struct {
	Conns []*nats.Conn // shared by the devices in turn; they stay the caller's and must not buffer while they reconnect

	Devices  int
	Prefix   string // of their ids: "dev-" makes dev-0001, dev-0002 …
	First    int    // number of the first, 0 means 1
	Seed     uint64
	Labels   []Cycle
	Version  string // of the agents, as they report it
	Log      *slog.Logger
	Protocol protocol.Config // intervals; device, info and seed are set for each device

	DataDir  string  // where devices remember what they run; "" = they forget
	Delay    Range   // how long a workload takes to start or end
	FailRate float64 // share of the (device, deployment, value) that fail, 0 to 1
	Silences []Silence
	Skews    map[fleet.DeviceID]time.Duration // clocks that are wrong, by so much
}

// Cycle gives devices a label in turn: the device of number n gets Values[(n-1) % len(Values)].
type Cycle struct {
	Key    string
	Values []string
}

// Range is a span of durations, both ends included.
type Range struct{ Min, Max time.Duration }

// Silence cuts a device off the network for a while, counted from the start.
type Silence struct {
	Device   fleet.DeviceID // "*" means all
	From, To time.Duration
}

// AllDevices is what stands for every device in a [Silence].
const AllDevices fleet.DeviceID = "*"

// Validate checks that there can be such a fleet; connections are not looked at.
func (c Config) Validate() error {
	switch {
	case c.Devices < 1:
		return fmt.Errorf("%d devices: at least 1 is needed", c.Devices)
	case c.First < 0:
		return fmt.Errorf("first device %d is negative", c.First)
	case c.Delay.Min < 0 || c.Delay.Max < c.Delay.Min:
		return fmt.Errorf("delay %s..%s is no range", c.Delay.Min, c.Delay.Max)
	case c.FailRate < 0 || c.FailRate > 1:
		return fmt.Errorf("fail rate %g is not between 0 and 1", c.FailRate)
	}
	for _, l := range c.Labels {
		if len(l.Values) == 0 {
			return fmt.Errorf("label %s has no values", l.Key)
		}
		for _, v := range l.Values {
			if err := fleet.ValidateLabel(l.Key, v); err != nil {
				return err
			}
		}
	}
	for _, s := range c.Silences {
		if s.From < 0 || s.To <= s.From {
			return fmt.Errorf("silence of %s: %s..%s is no span", s.Device, s.From, s.To)
		}
	}
	return errors.Join(c.ID(0).Validate(), c.ID(c.Devices-1).Validate())
}

func (c Config) number(i int) int { return max(c.First, 1) + i }

// ID returns the id of the i-th device, counted from 0: "dev-0001".
func (c Config) ID(i int) fleet.DeviceID {
	return fleet.DeviceID(fmt.Sprintf("%s%04d", c.Prefix, c.number(i)))
}

// info returns what the i-th device says of itself. It is the same after every restart.
func (c Config) info(i int) fleet.DeviceInfo {
	labels := map[string]string{}
	for _, l := range c.Labels {
		labels[l.Key] = l.Values[(c.number(i)-1)%len(l.Values)]
	}
	r := draw(c.Seed, "inventory", string(c.ID(i)))
	return fleet.DeviceInfo{
		Labels:       labels,
		AgentVersion: c.Version,
		Inventory: map[string]string{
			"model":  one(r, "Raspberry Pi 4 Model B", "Raspberry Pi 5", "Compute Module 4", "Jetson Orin Nano"),
			"kernel": one(r, "6.6.74", "6.12.25", "6.12.47"),
			"memory": one(r, "2 GiB", "4 GiB", "8 GiB"),
		},
	}
}
