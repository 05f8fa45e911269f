package dashboard

import (
	"os"
	"testing"

	"harmony.dev/e2e/browser"
	"harmony.dev/fleet/fleettest/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m, browser.End)) }
