package main

import (
	"io"
	"strings"
	"testing"
)

func TestArrange_FlagsMayStandAnywhere(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"fleet get deployments web -o json", "fleet get -o json deployments web"},
		{"fleet get -o json deployments", "fleet get -o json deployments"},
		{"fleet get deployments --watch web", "fleet get --watch deployments web"},
		{"fleet get devices --output=yaml dev-0001", "fleet get --output=yaml devices dev-0001"},
		{"fleet get deployments --nats-url nats://h:1", "fleet --nats-url nats://h:1 get deployments"},
		{"fleet --timeout 3s status -o wide", "fleet --timeout 3s status -o wide"},
		{"fleet dev --nats-url nats://h:1", "fleet dev --nats-url nats://h:1"},
		{"fleet get devices -- -odd", "fleet get devices -- -odd"},
		{"fleet get devices --nonsense", "fleet get --nonsense devices"},
		{"fleet nonsense -o json", "fleet -o json nonsense"},
		{"fleet -o json get deployments", "fleet get -o json deployments"},
		{"fleet get deployments -ojson", "fleet get -o=json deployments"},
		{"fleet -ojson --timeout 1s get -w devices", "fleet --timeout 1s get -o=json -w devices"},
		{"fleet", "fleet"},
		{"fleet get devices -o", "fleet get -o= devices"},
		{"fleet hold ID approve", "fleet hold ID approve"},
		{"fleet hold --yes approve ID", "fleet hold approve --yes ID"},
		{"fleet hold approve ID --nats-url nats://h:1 --yes", "fleet --nats-url nats://h:1 hold approve --yes ID"},
		{"fleet devices -n f forget a b --wait=false", "fleet devices forget -n f --wait=false a b"},
		{"fleet __complete get -o --color x -- y", "fleet __complete get -o --color x -- y"},
	} {
		p := &program{out: io.Discard, err: io.Discard}
		if got := strings.Join(split(p.app(), strings.Fields(c.in)).arranged(), " "); got != c.want {
			t.Errorf("split(%q).arranged() = %q, want %q", c.in, got, c.want)
		}
	}
}
