package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"harmony.dev/fleet/fleettest/kubetest"
)

// asCommand makes a process of the test binary the command itself.
const asCommand = "FLEET_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := run(ctx, os.Args, os.Getenv, os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	os.Exit(kubetest.Main(m))
}
