package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"harmony.dev/fleet/fleettest/kubetest"
)

// asCommand makes a process of the test binary the command itself.
const asCommand = "FLEET_TEST_AS_COMMAND"

// tests ends what they share.
type tests struct{ m *testing.M }

func (t tests) Run() int { return kubetest.Main(t.m) }

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	testscript.Main(tests{m}, map[string]func(){"fleet": main})
}
