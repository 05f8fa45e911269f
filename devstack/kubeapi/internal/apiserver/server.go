// Package apiserver builds and runs the Kubernetes API: the generic control plane of k8s.io/kubernetes
// with custom resources and RBAC, and without workloads.
//
// It is kube-apiserver's own code, configured as its command line would: authentication by client
// certificate and service account token, authorization by RBAC with the default roles, admission by
// namespace lifecycle, webhooks and policies. It serves on a listener that it is given.
package apiserver

import (
	"context"
	"fmt"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	aggregator "k8s.io/kube-aggregator/pkg/apiserver"

	"harmony.dev/devstack/kubeapi/internal/pki"
)

// probeInterval of the readiness.
const probeInterval = 25 * time.Millisecond

// Config is what the server is given.
type Config struct {
	Listener     net.Listener // on TCP; closed by the server
	Store        string       // endpoint of etcd
	Keys         *pki.Files
	StopPatience time.Duration // for requests that are under way when the server is stopped
}

// Server is a built server; Run makes it serve.
type Server struct {
	first    *aggregator.APIAggregator
	loopback *rest.Config
	client   kubernetes.Interface
}

// New builds the server. The store must be serving.
func New(ctx context.Context, cfg Config) (*Server, error) {
	opts, err := newOptions(ctx, cfg)
	if err != nil {
		return nil, err
	}
	chain, err := newChain(opts)
	if err != nil {
		return nil, err
	}
	first, err := chain.build()
	if err != nil {
		return nil, err
	}
	first.GenericAPIServer.ShutdownTimeout = cfg.StopPatience
	loopback := chain.kube.Generic.LoopbackClientConfig
	client, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return nil, fmt.Errorf("making the loopback client: %w", err)
	}
	return &Server{first: first, loopback: loopback, client: client}, nil
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	prepared, err := s.first.PrepareRun()
	if err != nil {
		return fmt.Errorf("preparing the API server: %w", err)
	}
	return prepared.Run(ctx)
}

// Loopback is a client configuration with all rights, for parts of this process.
func (s *Server) Loopback() *rest.Config { return rest.CopyConfig(s.loopback) }

// WaitReady returns when readyz says so: the groups are served and the default roles exist.
func (s *Server) WaitReady(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	probe := time.NewTicker(probeInterval)
	defer probe.Stop()
	for {
		_, err := s.client.CoreV1().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the API server to be ready: %w", err)
		case <-probe.C:
		}
	}
}

// EnsureNamespace creates the namespace unless it exists.
func (s *Server) EnsureNamespace(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := s.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating namespace %s: %w", name, err)
	}
	return nil
}
