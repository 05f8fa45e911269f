package devstack

import (
	"context"
	"encoding/json"
	"os"

	"harmony.dev/devstack/cluster"
)

const fieldManager = "fleet-dev"

// readyLine is what the embedded API prints on standard output once it serves.
type readyLine struct {
	Ready bool   `json:"ready"`
	URL   string `json:"url"`
}

func parseReadyLine(line string) (readyLine, bool) {
	var r readyLine
	err := json.Unmarshal([]byte(line), &r)
	return r, err == nil && r.Ready
}

// prepareCluster brings a cluster to where the services can work: the namespace, and the custom
// resource definitions, served.
func prepareCluster(ctx context.Context, kubeconfig, namespace, crdDir string) error {
	client, err := cluster.Connect(kubeconfig, os.Getenv, fieldManager)
	if err != nil {
		return err
	}
	if err := cluster.EnsureNamespace(ctx, client, fieldManager, namespace); err != nil {
		return err
	}
	crds, err := cluster.ReadCRDs(crdDir)
	if err != nil {
		return err
	}
	return cluster.ApplyCRDs(ctx, client, fieldManager, crds)
}
