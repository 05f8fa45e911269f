package lab

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"harmony.dev/fleet/fleettest/proxy"
)

// Gateway is the way of one patcher to the apiserver: a proxy for connections, and behind it one for
// requests, which can answer in the apiserver's place.
//
//	patcher ── TCP proxy ── HTTPS proxy ── apiserver
type Gateway struct {
	*proxy.Proxy
	server *httptest.Server

	mu       sync.Mutex
	answer   int // HTTP status in place of the apiserver's answer; 0: pass on
	after    time.Duration
	requests int
	pass     func(*http.Request) bool // called before a request is passed on
	done     func(*http.Request, int) // called when the apiserver has answered
}

func newGateway(t testing.TB, upstream *rest.Config) *Gateway {
	t.Helper()
	transport, err := rest.TransportFor(upstream)
	if err != nil {
		t.Fatalf("set up a way to the apiserver: %v", err)
	}
	target, err := url.Parse(upstream.Host)
	if err != nil {
		t.Fatalf("read the address of the apiserver: %v", err)
	}
	g := &Gateway{}
	pass := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // watches
		ErrorLog:      log.New(io.Discard, "", 0),
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, _ error) {
			if r.Context().Err() == nil { // the apiserver is gone: so is the connection to it
				g.Cut()
			}
			panic(http.ErrAbortHandler) //nolint:forbidigo // what ends a request without an answer
		},
		ModifyResponse: func(r *http.Response) error {
			g.mu.Lock()
			done := g.done
			g.mu.Unlock()
			if done != nil {
				done(r.Request, r.StatusCode)
			}
			return nil
		},
	}
	g.server = httptest.NewUnstartedServer(g.handle(pass))
	g.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	g.server.EnableHTTP2 = true
	g.server.StartTLS()
	t.Cleanup(func() {
		g.server.CloseClientConnections()
		g.server.Close()
	})
	g.Proxy = proxy.New(t, g.server.Listener.Addr().String())
	return g
}

func (g *Gateway) handle(pass http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.requests++
		answer, after, mayPass := g.answer, g.after, g.pass
		g.mu.Unlock()
		if mayPass != nil && !mayPass(r) {
			panic(http.ErrAbortHandler) //nolint:forbidigo // what ends a request without an answer
		}
		if answer == 0 {
			pass.ServeHTTP(w, r)
			return
		}
		if after > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(after.Seconds())))
		}
		http.Error(w, http.StatusText(answer), answer)
	})
}

// Answer answers every request with this HTTP status in place of the apiserver, and ends the connections
// so that watches come again too; retryAfter is sent unless it is 0. Status 0 passes requests on again.
func (g *Gateway) Answer(status int, retryAfter time.Duration) {
	g.mu.Lock()
	g.answer, g.after = status, retryAfter
	g.mu.Unlock()
	g.Cut()
}

// Requests is how many requests came so far.
func (g *Gateway) Requests() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.requests
}

// OnRequest calls f before a request is passed on. One for which it returns false is not, and gets no answer.
func (g *Gateway) OnRequest(f func(r *http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pass = f
}

// OnDone calls f when the apiserver has answered a request with a status, before the answer is passed on.
func (g *Gateway) OnDone(f func(r *http.Request, status int)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.done = f
}

// kubeconfig writes a file by which a process goes through here, and returns its path.
func (g *Gateway) kubeconfig(t testing.TB, dir, id string) string {
	t.Helper()
	const name = "gateway"
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[name] = &clientcmdapi.Cluster{
		Server:                   "https://" + g.Address(),
		CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.server.Certificate().Raw}),
	}
	cfg.AuthInfos[name] = clientcmdapi.NewAuthInfo()
	cfg.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	cfg.CurrentContext = name
	path := filepath.Join(dir, id+".kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		t.Fatalf("write a kubeconfig: %v", err)
	}
	return path
}
