package kube

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
)

// A connection that is silent for pingAfter is pinged, and dropped when pongWithin brings no answer:
// a black hole is noticed in their sum.
const (
	pingAfter  = 3 * time.Second
	pongWithin = 3 * time.Second
	dialWithin = 3 * time.Second
)

// transportFor returns what carries the requests to the apiserver.
func transportFor(cfg *rest.Config) (http.RoundTripper, error) {
	tls, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("read the apiserver's TLS configuration: %w", err)
	}
	proxy := http.ProxyFromEnvironment
	if cfg.Proxy != nil {
		proxy = cfg.Proxy
	}
	dialer := net.Dialer{Timeout: dialWithin, KeepAlive: pingAfter}
	wrapped, err := rest.HTTPWrappersForConfig(cfg, &http.Transport{
		Proxy:               proxy,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     tls,
		TLSHandshakeTimeout: dialWithin,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pongWithin},
	})
	if err != nil {
		return nil, fmt.Errorf("set up authentication to the apiserver: %w", err)
	}
	return impatient{wrapped}, nil
}

// impatient hides from client-go when to come again. Told so, it waits and asks up to ten times by itself,
// and says nothing of it: neither that the apiserver is busy nor that it fails would be noticed for that
// long. Whoever asks here spaces its own attempts.
type impatient struct{ http.RoundTripper }

// RoundTrip passes a request on.
func (t impatient) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err == nil && (resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError) {
		resp.Header.Del("Retry-After")
	}
	return resp, err
}
