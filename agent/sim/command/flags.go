// Package command is what the commands that simulate devices share: their flags, and how the devices are run.
package command

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"harmony.dev/agent/protocol"
	"harmony.dev/agent/sim"
	"harmony.dev/fleet"
	"harmony.dev/fleet/service"
)

// Flags are the flags of a simulation. Prefix is that of the devices' ids by default. A command that has them must not split
// the values of slice flags at commas: a label-cycle has some.
func Flags(prefix string) []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "devices", Value: 24, Usage: "how many devices"},
		&cli.StringFlag{Name: "prefix", Value: prefix, Usage: fmt.Sprintf("of their ids: %s0001, %s0002 …", prefix, prefix)},
		&cli.IntFlag{Name: "first", Value: 1, Usage: "number of the first device"},
		&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of everything that the devices do"},
		&cli.IntFlag{Name: "connections", Value: 1, Usage: "NATS connections that the devices share"},
		&cli.DurationFlag{Name: "heartbeat", Value: 30 * time.Second, Usage: "time between heartbeats, ± 20 %"},
		&cli.DurationFlag{Name: "resync", Value: 10 * time.Minute, Usage: "time between snapshot requests, ± 50 %"},
		&cli.StringFlag{Name: "data-dir", TakesFile: true, Usage: "directory where devices remember what they run (default: they forget)"},
		&cli.StringSliceFlag{Name: "label-cycle", Usage: "a label that devices get in turn: region=north,east,south,west (repeatable)"},
		&cli.StringFlag{Name: "delay", Value: "50ms..500ms", Usage: "how long a workload takes to start or end"},
		&cli.Float64Flag{Name: "fail-rate", Usage: "share of workloads that fail, 0 to 1"},
		&cli.StringSliceFlag{Name: "silence", Usage: "cut a device (or * for all) off for a while: dev-0003@10s..60s (repeatable)"},
		&cli.StringSliceFlag{Name: "clock", Usage: "a device whose clock is wrong: dev-0003=-490000h (repeatable)"},
	}
}

// Configure returns what the flags say, without connections and log. An error is about the command line.
func Configure(c *cli.Context) (sim.Config, error) {
	cfg := sim.Config{
		Devices: c.Int("devices"), Prefix: c.String("prefix"), First: c.Int("first"), Seed: c.Uint64("seed"),
		Version: "sim " + service.BuildVersion(), DataDir: c.String("data-dir"), FailRate: c.Float64("fail-rate"),
		Protocol: protocol.Config{Heartbeat: c.Duration("heartbeat"), Resync: c.Duration("resync")},
		Skews:    map[fleet.DeviceID]time.Duration{},
	}
	if n := c.Int("connections"); n < 1 {
		return cfg, fmt.Errorf("--connections %d: at least 1 is needed", n)
	}
	for _, name := range []string{"heartbeat", "resync"} {
		if d := c.Duration(name); d <= 0 {
			return cfg, fmt.Errorf("--%s %s is not positive", name, d)
		}
	}
	var err error
	if cfg.Delay, err = parseRange(c.String("delay")); err != nil {
		return cfg, fmt.Errorf("--delay %w", err)
	}
	for _, text := range c.StringSlice("label-cycle") {
		cycle, err := parseCycle(text)
		if err != nil {
			return cfg, fmt.Errorf("--label-cycle %w", err)
		}
		cfg.Labels = append(cfg.Labels, cycle)
	}
	for _, text := range c.StringSlice("silence") {
		silence, err := parseSilence(text)
		if err != nil {
			return cfg, fmt.Errorf("--silence %w", err)
		}
		cfg.Silences = append(cfg.Silences, silence)
	}
	for _, text := range c.StringSlice("clock") {
		device, skew, err := parseSkew(text)
		if err != nil {
			return cfg, fmt.Errorf("--clock %w", err)
		}
		cfg.Skews[device] = skew
	}
	return cfg, cfg.Validate()
}

// parseRange reads "50ms..500ms", or "2s" for exactly that.
func parseRange(text string) (sim.Range, error) {
	from, to, ok := strings.Cut(text, "..")
	if !ok {
		to = from
	}
	low, err1 := time.ParseDuration(from)
	high, err2 := time.ParseDuration(to)
	if err1 != nil || err2 != nil || low < 0 || high < low {
		return sim.Range{}, fmt.Errorf("%q is no range like 50ms..500ms", text)
	}
	return sim.Range{Min: low, Max: high}, nil
}

// parseCycle reads "region=north,east".
func parseCycle(text string) (sim.Cycle, error) {
	key, values, ok := strings.Cut(text, "=")
	if !ok || key == "" || values == "" {
		return sim.Cycle{}, fmt.Errorf("%q is no label with values like region=north,east", text)
	}
	return sim.Cycle{Key: key, Values: strings.Split(values, ",")}, nil
}

// parseSilence reads "dev-0003@10s..60s".
func parseSilence(text string) (sim.Silence, error) {
	device, span, ok := strings.Cut(text, "@")
	r, err := parseRange(span)
	if !ok || err != nil || device == "" {
		return sim.Silence{}, fmt.Errorf("%q is no silence like dev-0003@10s..60s", text)
	}
	return sim.Silence{Device: fleet.DeviceID(device), From: r.Min, To: r.Max}, nil
}

// parseSkew reads "dev-0003=-490000h".
func parseSkew(text string) (fleet.DeviceID, time.Duration, error) {
	device, skew, ok := strings.Cut(text, "=")
	d, err := time.ParseDuration(skew)
	if !ok || err != nil || device == "" {
		return "", 0, fmt.Errorf("%q is no clock like dev-0003=-24h", text)
	}
	return fleet.DeviceID(device), d, nil
}
