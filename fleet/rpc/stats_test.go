package rpc_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/nats-io/nats.go/micro"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// micro counts requests that it has handed over, none of them as an error: the data of an endpoint says the rest.
func TestStats_SayWhatBecameOfRequests(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	s := newServer(t, nc, config(t))
	ep := endpoint("echo", fleet.RoleQuery)
	handle(t, s, ep, func(ctx context.Context, r echoRequest) (echoResponse, error) {
		if r.Text == "" {
			return echoResponse{}, fleet.Errorf(fleet.CodeNotFound, "NotFound", "there is no text")
		}
		return echo(ctx, r)
	})
	for _, text := range []string{"a", "", "b"} {
		if _, err := call(t, nc, ep, echoRequest{Text: text}); (err != nil) != (text == "") {
			t.Fatal(err)
		}
	}
	type data struct {
		Answered  uint64 `json:"answered"`
		Errors    uint64 `json:"errors"`
		LastError string `json:"last_error"`
		Busy      int64  `json:"processing_time"`
		Average   int64  `json:"average_processing_time"`
	}
	var got data
	fleettest.Eventually(t, within, "both answers are counted", func() bool {
		m, err := nc.Request("$SRV.STATS.test", nil, within)
		if err != nil {
			t.Fatal(err)
		}
		var stats micro.Stats
		if err := json.Unmarshal(m.Data, &stats); err != nil || len(stats.Endpoints) != 1 {
			t.Fatalf("stats %s: %v", m.Data, err)
		}
		if err := json.Unmarshal(stats.Endpoints[0].Data, &got); err != nil {
			t.Fatal(err)
		}
		return got.Answered == 2
	})
	if got.Errors != 1 || got.LastError != "404 NotFound" || got.Average <= 0 || got.Average != got.Busy/3 {
		t.Errorf("stats %+v", got)
	}
}
