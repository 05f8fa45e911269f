package kube

import (
	"fmt"
	"net/http"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Config returns how to reach the apiserver: by the kubeconfig file at path; with an empty path by the
// pod's service account, and outside a cluster by $KUBECONFIG or ~/.kube/config.
func Config(path string) (*rest.Config, error) {
	if path == "" {
		if cfg, err := rest.InClusterConfig(); err == nil {
			return cfg, nil
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = path
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	return cfg, nil
}

// NewClient returns a client that notices dead connections. It does no I/O. Writes are limited by the
// [Writer], so the client itself has no limit.
func NewClient(cfg *rest.Config, userAgent string) (dynamic.Interface, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = userAgent
	cfg.QPS = -1
	transport, err := transportFor(cfg)
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfigAndClient(cfg, &http.Client{Transport: transport})
	if err != nil {
		return nil, fmt.Errorf("set up the client of the apiserver: %w", err)
	}
	return client, nil
}
