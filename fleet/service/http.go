package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"harmony.dev/fleet/rpc"
)

// probes serves /healthz, /readyz and /metrics.
type probes struct {
	server *http.Server
	addr   string
	failed chan error // what Serve returned, or the panic of a handler
}

// listen starts to serve h. An empty address serves nothing and returns nil.
func listen(ctx context.Context, addr, addressFile string, h http.Handler) (*probes, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP on %s: %w", addr, err)
	}
	p := &probes{
		addr:   l.Addr().String(),
		failed: make(chan error, 1),
	}
	p.server = &http.Server{Handler: p.guard(h), ReadHeaderTimeout: 5 * time.Second}
	if addressFile != "" {
		if err := writeFile(addressFile, p.addr+"\n"); err != nil {
			_ = l.Close() // nothing was served on it
			return nil, fmt.Errorf("write the HTTP address: %w", err)
		}
	}
	go func() { p.failed <- p.server.Serve(l) }()
	return p, nil
}

// guard has a panic of a handler end the process: net/http would go on as if nothing had happened.
func (p *probes) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			select {
			case p.failed <- &rpc.PanicError{Subject: r.URL.Path, Value: v, Stack: debug.Stack()}:
			default: // the first one ends the process
			}
			panic(http.ErrAbortHandler) //nolint:forbidigo // what ends a request without an answer
		}()
		h.ServeHTTP(w, r)
	})
}

func handler(h *Health, metrics prometheus.Gatherer, f *faults) http.Handler {
	mux := http.NewServeMux()
	if f != nil {
		f.serve(mux)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !h.alive(time.Now()) {
			http.Error(w, "the process's loop is stuck", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n")) // the client is gone: nobody to tell
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		got := h.Snapshot()
		w.Header().Set("Content-Type", "application/json")
		if !got.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(got) // the client is gone: nobody to tell
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// watch is the member of the run group that fails when the server does.
func (p *probes) watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.failed:
		return fmt.Errorf("serve HTTP: %w", err)
	}
}

// close ends the server at once: by now it has said "not ready" for as long as there was.
func (p *probes) close() error {
	if p == nil {
		return nil
	}
	if err := p.server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close HTTP: %w", err)
	}
	return nil
}

// writeFile puts a whole file in place at once: whoever waits for it never reads half of it.
func writeFile(path, text string) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
