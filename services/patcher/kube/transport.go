package kube

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
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

// impatient hides from client-go when to come again, and errors after which it does so by itself. Told to, it
// waits and asks up to ten times and says nothing of it: neither that the apiserver is busy nor that it fails
// would be noticed for that long. A watch that could not be started is to it even one that has begun, and
// ended at once: the apiserver would seem to be back. Whoever asks here spaces its own attempts.
type impatient struct{ http.RoundTripper }

// RoundTrip passes a request on.
func (t impatient) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return resp, plainly(r, err)
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError {
		resp.Header.Del("Retry-After")
	}
	return resp, nil
}

// What client-go reads more into is said in other words.
var (
	errBrokeOff = errors.New("the connection broke off before there was an answer")
	errTimedOut = errors.New("the connection timed out")
)

// plainly returns the error of a request, such that client-go takes it for one. One that the caller caused
// stays as it is.
func plainly(r *http.Request, err error) error {
	switch {
	case r.Context().Err() != nil:
		return err
	case utilnet.IsTimeout(err):
		return errTimedOut
	case errors.Is(err, io.EOF), utilnet.IsProbableEOF(err), utilnet.IsConnectionReset(err), utilnet.IsHTTP2ConnectionLost(err):
		return errBrokeOff
	}
	return err
}
