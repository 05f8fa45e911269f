package kube

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// A connection that is silent for pingAfter is pinged, and dropped when pongWithin brings no answer:
// a black hole is noticed in their sum.
const (
	pingAfter  = 3 * time.Second
	pongWithin = 3 * time.Second
	dialWithin = 3 * time.Second
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
	tls, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("read the apiserver's TLS configuration: %w", err)
	}
	dialer := net.Dialer{Timeout: dialWithin, KeepAlive: pingAfter}
	var transport http.RoundTripper = &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     tls,
		TLSHandshakeTimeout: dialWithin,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pongWithin},
	}
	if transport, err = rest.HTTPWrappersForConfig(cfg, transport); err != nil {
		return nil, fmt.Errorf("set up authentication to the apiserver: %w", err)
	}
	client, err := dynamic.NewForConfigAndClient(cfg, &http.Client{Transport: impatient{transport}})
	if err != nil {
		return nil, fmt.Errorf("set up the client of the apiserver: %w", err)
	}
	return client, nil
}
