package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet/service"
)

func TestOptions_RefusedBeforeAnythingIsStarted(t *testing.T) {
	for _, c := range []struct{ flag, value, want string }{
		{"--tick", "11s", "--tick 11s"},
		{"--heartbeat-interval", "-1s", "--heartbeat-interval -1s"},
		{"--stale-after", "10s", "3 heartbeat intervals"},
		{"--silence-after", "30s", "--silence-after 30s"},
		{"--orphan-after", "0s", "--orphan-after 0s"},
		{"--device-rate", "0", "must be positive"},
	} {
		var out bytes.Buffer
		args := []string{"fleet-aggregator", "--nats-url", "nats://127.0.0.1:1", c.flag, c.value}
		code := service.Main(t.Context(), args, func(string) string { return "" }, &out, &out, spec(time.Now))
		if code != 2 || !strings.Contains(out.String(), c.want) || strings.Contains(out.String(), "level=") {
			t.Errorf("%s %s: exit %d, %s", c.flag, c.value, code, out.String())
		}
	}
}
