package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/kube"
)

// gate is a way to the apiserver that can be closed.
type gate struct {
	server   *httptest.Server
	rule     atomic.Pointer[rule]
	stopped  atomic.Int64 // requests that did not pass
	rewound  atomic.Bool  // lists have the version 1
	released chan struct{}
}

// rule says what the gate does with a request.
type rule func(r *http.Request) verdict

type verdict int

const (
	pass verdict = iota
	drop         // hang up
	hold         // answer nothing
	fail         // answer with an error
)

func always(v verdict) rule { return func(*http.Request) verdict { return v } }

// gate returns an open one, and the kubeconfig that leads through it.
func (r *rig) gate() (g *gate, kubeconfig string) {
	r.t.Helper()
	target, err := url.Parse(r.api.URL)
	if err != nil {
		r.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	if proxy.Transport, err = rest.TransportFor(r.api.Config); err != nil {
		r.t.Fatal(err)
	}
	g = &gate{released: make(chan struct{})}
	proxy.ModifyResponse = g.rewind
	g.set(always(pass))
	g.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch (*g.rule.Load())(req) {
		case pass:
			proxy.ServeHTTP(w, req)
			return
		case hold:
			g.stopped.Add(1)
			select {
			case <-req.Context().Done():
			case <-g.released:
			}
		case drop:
			g.stopped.Add(1)
		case fail:
			g.stopped.Add(1)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		panic(http.ErrAbortHandler)
	}))
	r.t.Cleanup(func() { close(g.released); g.server.CloseClientConnections(); g.server.Close() })
	return g, r.kubeconfigWith(func(cluster, _ map[string]any) {
		cluster["server"] = g.server.URL
		delete(cluster, "certificate-authority-data")
		delete(cluster, "certificate-authority")
	})
}

// rewind makes a list look like one of an apiserver that was restored from a backup.
func (g *gate) rewind(resp *http.Response) error {
	if !g.rewound.Load() || resp.Request.Method != http.MethodGet || resp.Request.URL.Query().Has("watch") {
		return nil
	}
	var list map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return err
	}
	list["metadata"].(map[string]any)["resourceVersion"] = "1"
	b, err := json.Marshal(list)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	resp.Header.Set("Content-Length", strconv.Itoa(len(b)))
	return err
}

func (g *gate) set(r rule) { g.rule.Store(&r) }

// shut has the gate treat every request like that, also those under way.
func (g *gate) shut(v verdict) {
	g.set(always(v))
	g.server.CloseClientConnections()
}

func TestLease_HandedBackByAHolderThatDoesNotSeeTheAPIServer(t *testing.T) {
	for name, v := range map[string]verdict{"the apiserver cannot be reached": drop, "it does not answer": hold} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			g, kubeconfig := r.gate()
			first := r.ready("p1", "--kubeconfig", kubeconfig)
			second := r.start("p2")
			r.eventually("the standby is ready", func() bool { h, ok := second.health(); return ok && h.Ready })
			g.shut(v)
			r.eventually("the standby, which sees it, takes over", func() bool {
				h, ok := second.health()
				return ok && h.Lease.Held && h.State == fleet.StateReady
			})
			r.create(kube.Deployments, "web", selecting("north"))
			e := r.mirrored("deployment.web", "north")
			g.set(always(pass))
			g.server.CloseClientConnections()
			r.eventually("the first one is ready to stand in", func() bool {
				h, ok := first.health()
				return ok && h.Ready && h.State == fleet.StateReady && !h.Lease.Held
			})
			if epoch := r.mirror(fleet.KeyEpoch).revision; epoch != e.epoch {
				t.Errorf("another epoch %d after %d", epoch, e.epoch)
			}
		})
	}
}

func TestLease_AloneAndBlindItWaitsForTheAPIServer(t *testing.T) {
	for name, v := range map[string]verdict{"the apiserver cannot be reached": drop, "it does not answer": hold} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			g, kubeconfig := r.gate()
			p := r.ready("p1", "--kubeconfig", kubeconfig)
			g.shut(v)
			r.eventually("the lease is handed back", func() bool { h, ok := p.health(); return ok && h.Lease.Holder == "" })
			before, stopped := r.mirror(fleet.KeyEpoch).revision, g.stopped.Load()
			if v == drop {
				r.eventually("it keeps trying to see", func() bool { return g.stopped.Load() > stopped+4 })
			}
			if after := r.mirror(fleet.KeyEpoch).revision; after != before {
				t.Errorf("it took epoch %d without sight", after)
			}
			r.create(kube.Deployments, "web", selecting("north"))
			g.set(always(pass))
			g.server.CloseClientConnections()
			opened := time.Now()
			r.mirrored("deployment.web", "north")
			t.Logf("the mirror is kept again after %v", time.Since(opened))
		})
	}
}

func TestFinalizers_SlowOnesDoNotHoldTheMirrorUp(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"} {
		r.create(kube.Deployments, name, selecting("north"))
	}
	g, kubeconfig := r.gate()
	g.set(func(r *http.Request) verdict {
		if r.Method == http.MethodPatch {
			return hold
		}
		return pass
	})
	r.start("p1", "--kubeconfig", kubeconfig)
	r.eventually("the mirror is whole without them", func() bool { return r.mirror(fleet.KeySynced).epoch != 0 })
	g.set(always(pass))
	g.server.CloseClientConnections()
	r.mirrored("deployment.a", "north")
	r.mirrored("deployment.m", "north")
}

func TestMirror_NewEpochWhenTheAPIServerWentBack(t *testing.T) {
	r := newRig(t)
	g, kubeconfig := r.gate()
	p := r.ready("p1", "--kubeconfig", kubeconfig)
	r.create(kube.Deployments, "web", selecting("north"))
	before := r.mirrored("deployment.web", "north")
	restart := func() {
		stopped := g.stopped.Load()
		g.shut(fail)
		r.eventually("the watches are lost", func() bool { return g.stopped.Load() >= stopped+2 })
		g.set(always(pass))
		r.eventually("it is ready again", func() bool { h, _ := p.health(); return h.State == fleet.StateReady })
	}
	restart()
	if epoch := r.mirror(fleet.KeyEpoch).revision; epoch != before.epoch {
		t.Errorf("epoch %d after %d, and nothing went back", epoch, before.epoch)
	}

	g.rewound.Store(true)
	restart()
	r.eventually("the mirror is whole under a new epoch", func() bool {
		epoch := r.mirror(fleet.KeyEpoch).revision
		return epoch > before.epoch && r.mirror(fleet.KeySynced).epoch == epoch
	})
	if after := r.mirror("deployment.web"); after.revision != before.revision {
		t.Errorf("the entry was rewritten: %+v", after)
	}
}
