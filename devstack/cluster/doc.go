// Package cluster is what the command line does to a Kubernetes cluster: it applies the custom resource definitions, and
// takes the operator's finalizers off its resources. It needs few rights, and says in its comments which.
package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"harmony.dev/fleet"
)

// The resources of the fleet.
var (
	Deployments = schema.GroupVersionResource{Group: fleet.Group, Version: fleet.Version, Resource: fleet.ResourceDeployments}
	Devices     = schema.GroupVersionResource{Group: fleet.Group, Version: fleet.Version, Resource: fleet.ResourceDevices}
)

// Client reaches a cluster.
type Client = dynamic.Interface

// requestTimeout bounds one request, so that a server that accepts connections and says nothing is noticed.
const requestTimeout = 30 * time.Second

// ErrNoCluster says that it is not known which cluster is meant.
var ErrNoCluster = errors.New("no cluster is known")

// Connect returns a client for the cluster of a kubeconfig file. With none it takes those that $KUBECONFIG names, then
// ~/.kube/config, then the cluster that this process runs in.
func Connect(kubeconfig string, getenv func(string) string, userAgent string) (Client, error) {
	cfg, err := config(kubeconfig, getenv)
	if err != nil {
		return nil, err
	}
	cfg.UserAgent, cfg.Timeout, cfg.QPS = userAgent, requestTimeout, -1 // the server has its own limits
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("set up a Kubernetes client: %w", err)
	}
	return client, nil
}

func config(kubeconfig string, getenv func(string) string) (*rest.Config, error) {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	if kubeconfig == "" {
		rules.Precedence = filepath.SplitList(getenv("KUBECONFIG"))
		if len(rules.Precedence) == 0 {
			home := filepath.Join(getenv("HOME"), ".kube", "config")
			if _, err := os.Stat(home); getenv("HOME") != "" && err == nil {
				rules.Precedence = []string{home}
			}
		}
		if len(rules.Precedence) == 0 {
			return inCluster()
		}
	}
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	return cfg, nil
}

func inCluster() (*rest.Config, error) {
	cfg, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, fmt.Errorf("%w: there is no --kubeconfig, no $KUBECONFIG, no ~/.kube/config, and this is no pod of a cluster", ErrNoCluster)
	}
	if err != nil {
		return nil, fmt.Errorf("use the service account of this pod: %w", err)
	}
	return cfg, nil
}
