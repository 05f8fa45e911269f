// Package accounts proves deploy/nats on real servers: with it the services do all that they do and no device can
// do more than it may. For each thing that a device may not do there is a test that takes its guard out of the
// configuration and sees it done.
package accounts

import (
	"os"
	"testing"

	"harmony.dev/fleet/fleettest/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }
