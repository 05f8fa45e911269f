package sim

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"harmony.dev/fleet"
)

func score(kind, data string) fleet.Desired {
	return fleet.Desired{UID: "u", Score: fleet.Score{Type: kind, Data: json.RawMessage(data)}}
}

func TestBehaviour_Steered(t *testing.T) {
	b := behaviour{seed: 1, delay: Range{Min: time.Millisecond, Max: time.Millisecond}}
	always := behaviour{seed: 1, failRate: 1}
	for _, c := range []struct {
		b       behaviour
		d       fleet.Desired
		delay   time.Duration
		failure string
	}{
		{b, score("sim", `{}`), time.Millisecond, ""},
		{b, score("sim", ``), time.Millisecond, ""},
		{b, score("sim", `{"fail":true}`), time.Millisecond, "simulated failure"},
		{b, score("sim", `{"fail":"no image"}`), time.Millisecond, "no image"},
		{b, score("sim", `{"delay":"2s","other":[1]}`), 2 * time.Second, ""},
		{b, score("sim", `{"delay":"soon"}`), time.Millisecond, `read delay of the simulated workload: time: invalid duration "soon"`},
		{b, score("sim", `[]`), time.Millisecond, "read data of the simulated workload: json: cannot unmarshal array into Go value of type struct { Fail interface {} \"json:\\\"fail\\\"\"; Delay string \"json:\\\"delay\\\"\" }"},
		{b, score("container", `{"fail":true}`), time.Millisecond, ""},
		{b, score("compose", `"anything"`), time.Millisecond, ""},
		{always, score("container", ``), 0, "simulated failure"},
		{always, score("sim", `{"fail":false}`), 0, ""},
	} {
		o := c.b.apply("dev-0001", "web", c.d)
		got := ""
		if o.failure != nil {
			got = o.failure.Error()
		}
		if o.delay != c.delay || got != c.failure {
			t.Errorf("%s: %s, %q; want %s, %q", c.d.Score.Data, o.delay, got, c.delay, c.failure)
		}
	}
}

func TestBehaviour_IsDrawnFromTheSeed(t *testing.T) {
	b := behaviour{seed: 1, delay: Range{Min: 50 * time.Millisecond, Max: 500 * time.Millisecond}, failRate: 0.3}
	failed, delays := 0, map[time.Duration]bool{}
	for i := range 1000 {
		device := fleet.DeviceID(fmt.Sprintf("dev-%04d", i))
		o := b.apply(device, "web", score("container", ``))
		if again := b.apply(device, "web", score("container", ``)); again != o {
			t.Fatalf("%s: %v, then %v", device, o, again)
		}
		if o.delay < b.delay.Min || o.delay > b.delay.Max {
			t.Fatalf("delay %s", o.delay)
		}
		delays[o.delay] = true
		if o.failure != nil {
			failed++
		}
	}
	if failed < 250 || failed > 350 || len(delays) < 900 {
		t.Errorf("%d of 1000 failed, %d delays", failed, len(delays))
	}
}

func TestConfig_Devices(t *testing.T) {
	c := Config{Devices: 24, Prefix: "dev-", Labels: []Cycle{
		{Key: "region", Values: []string{"north", "east", "south", "west"}}, {Key: "arch", Values: []string{"arm64", "amd64"}},
	}}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]struct{ id, region, arch string }{
		0: {"dev-0001", "north", "arm64"}, 1: {"dev-0002", "east", "amd64"}, 3: {"dev-0004", "west", "amd64"}, 4: {"dev-0005", "north", "arm64"},
		23: {"dev-0024", "west", "amd64"}, 12344: {"dev-12345", "north", "arm64"},
	} {
		info := c.info(i)
		if string(c.ID(i)) != want.id || info.Labels["region"] != want.region || info.Labels["arch"] != want.arch {
			t.Errorf("device %d: %s %v", i, c.ID(i), info.Labels)
		}
		if !reflect.DeepEqual(info, c.info(i)) || len(info.Inventory) != 3 || info.Validate() != nil {
			t.Errorf("device %d: %+v", i, info)
		}
	}
	c.First = 25 // the rest of a larger fleet gets the labels it would have there
	if c.ID(0) != "dev-0025" || c.info(0).Labels["region"] != "north" || c.info(1).Labels["region"] != "east" {
		t.Errorf("%s %v", c.ID(0), c.info(0))
	}
}

func TestConfig_Validate(t *testing.T) {
	good := Config{Devices: 1, Prefix: "dev-"}
	for name, change := range map[string]func(*Config){
		"no devices":     func(c *Config) { c.Devices = 0 },
		"illegal prefix": func(c *Config) { c.Prefix = "Dev." },
		"negative first": func(c *Config) { c.First = -1 },
		"delay":          func(c *Config) { c.Delay = Range{Min: 2, Max: 1} },
		"fail rate":      func(c *Config) { c.FailRate = 1.1 },
		"label key":      func(c *Config) { c.Labels = []Cycle{{Key: "a b", Values: []string{"x"}}} },
		"label value":    func(c *Config) { c.Labels = []Cycle{{Key: "a", Values: []string{"x y"}}} },
		"no values":      func(c *Config) { c.Labels = []Cycle{{Key: "a"}} },
		"silence":        func(c *Config) { c.Silences = []Silence{{Device: "dev-0001", From: 2, To: 2}} },
	} {
		c := good
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}
