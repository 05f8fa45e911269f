package rpc_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"harmony.dev/fleet/rpc"
)

// asSubscriber makes the test binary a process whose subscription panics; its value is the NATS URL.
const asSubscriber = "RPC_TEST_AS_SUBSCRIBER"

func TestMain(m *testing.M) {
	if url := os.Getenv(asSubscriber); url != "" {
		os.Exit(panickingSubscriber(url))
	}
	goleak.VerifyTestMain(m)
}

func panickingSubscriber(url string) int {
	nc, err := nats.Connect(url)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	_, err = rpc.Subscribe(nc, "test.plain.*", rpc.Config{Log: slog.New(slog.DiscardHandler)},
		func(context.Context, string, struct{}) (struct{}, error) { panic("boom") })
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	select {} // until the panic
}
