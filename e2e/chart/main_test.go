// Package chart tests deploy/chart and deploy/manifests: what Helm renders, against a real Kubernetes API and the
// published types, and its permissions by running the operator and the uninstall command with exactly these.
//
// What the API here does not serve (workloads, network policies, the kinds of the Prometheus operator) is decoded
// strictly into the published types; nothing here starts a container.
package chart

import (
	"os"
	"testing"

	"harmony.dev/fleet/fleettest/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }
