package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"harmony.dev/devstack/kubeapi/internal/apiserver"
	"harmony.dev/devstack/kubeapi/internal/controllers"
	"harmony.dev/devstack/kubeapi/internal/datadir"
	"harmony.dev/devstack/kubeapi/internal/etcd"
	"harmony.dev/devstack/kubeapi/internal/kubeconfig"
	"harmony.dev/devstack/kubeapi/internal/pki"
)

const (
	// lockPatience covers a predecessor on the same directory that is still stopping.
	lockPatience = 5 * time.Second
	// startPatience is far above what a start takes on a busy machine; a start beyond it never ends.
	startPatience = 3 * time.Minute
	// stopPatience bounds a clean stop. What is cut off loses nothing: an acknowledged write is on disk.
	stopPatience = 5 * time.Second
)

// exit codes of the process
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// run is the program: it serves until the context, a signal or the parent ends it, and returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// a second signal is not caught: it ends the process at once
	context.AfterFunc(ctx, stop)

	app := newApp(getenv, stdout, stderr, func(ctx context.Context, cfg config) error {
		log, err := setupLogging(stderr, cfg.logLevel)
		if err != nil {
			return usageError{err}
		}
		if cfg.exitWithParent {
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			defer cancel()
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				cancel()
			}()
		}
		err = serve(ctx, cfg, log, stdout, stderr)
		if err != nil && ctx.Err() != nil {
			// a start that was cut off is a clean end too
			log.Info("ended while stopping", "err", err)
			return nil
		}
		return err
	})
	err := app.RunContext(ctx, args)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "kubeapi: %v (see kubeapi --help)\n", err)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "kubeapi: %v\n", err)
		return exitError
	}
}

// serve starts the parts from the store upwards and stops them the other way round. It returns nil when
// ctx ended it, and an error when a part did not start or did not last.
func serve(ctx context.Context, cfg config, log *slog.Logger, stdout, stderr io.Writer) error {
	dir, err := datadir.Open(ctx, cfg.dataDir, lockPatience)
	if err != nil {
		return err
	}
	defer dir.Close()
	// The store's socket has a relative path: the operating system limits one to about 100 bytes.
	if err := os.Chdir(cfg.dataDir); err != nil {
		return fmt.Errorf("entering the data directory: %w", err)
	}

	listener, err := listen(ctx, cfg.bindAddress, cfg.port)
	if err != nil {
		return err
	}
	// for a start that fails before the server owns it; closing twice is harmless
	defer func() { _ = listener.Close() }()
	localURL := urlOf(listener)
	if cfg.serverURL == "" {
		cfg.serverURL = localURL
	}

	hosts, err := certificateHosts(cfg)
	if err != nil {
		return err
	}
	keys, err := pki.Ensure("pki", hosts, time.Now())
	if err != nil {
		return err
	}
	store, err := etcd.Start(ctx, etcd.Config{Dir: "etcd", Fsync: cfg.fsync, Log: stderr, LogLevel: cfg.logLevel})
	if err != nil {
		return err
	}
	api, err := apiserver.New(ctx, apiserver.Config{Listener: listener, Store: store.Endpoint(), Keys: keys, StopPatience: stopPatience / 2})
	if err != nil {
		store.Close()
		return err
	}

	apiCtx, stopAPI := context.WithCancel(ctx)
	apiStopped := make(chan struct{})
	defer stopWithin(stopPatience, log, func() {
		stopAPI()
		<-apiStopped
		store.Close()
	})

	failed := make(chan error, 4) // one for each sender: none of them ever waits
	go func() {
		defer close(apiStopped)
		failed <- endOf("the API server", api.Run(apiCtx))
	}()
	go func() { failed <- endOf("etcd", <-store.Err()) }()
	go func() {
		started := time.Now()
		if err := api.WaitReady(apiCtx, startPatience); err != nil {
			failed <- err
			return
		}
		go func() { failed <- endOf("the controllers", controllers.Run(apiCtx, api.Loopback())) }()
		if err := open(apiCtx, api, keys, cfg); err != nil {
			failed <- err
			return
		}
		log.Info("ready", "url", localURL, "after", time.Since(started).Round(time.Millisecond))
		if err := announce(stdout, localURL, cfg.kubeconfig); err != nil {
			failed <- err
		}
	}()

	select {
	case <-ctx.Done():
		log.Info("stopping")
		return nil
	case err := <-failed:
		return err
	}
}

// open makes a serving API usable: the namespace exists and the kubeconfig leads to it.
func open(ctx context.Context, api *apiserver.Server, keys *pki.Files, cfg config) error {
	if err := api.EnsureNamespace(ctx, cfg.namespace); err != nil {
		return err
	}
	return kubeconfig.Write(cfg.kubeconfig, kubeconfig.Access{
		Server:    cfg.serverURL,
		Namespace: cfg.namespace,
		CAFile:    keys.CACert,
		CertFile:  keys.AdminCert,
		KeyFile:   keys.AdminKey,
	})
}

// endOf is the error of a part that returned although nobody stopped it.
func endOf(part string, err error) error {
	if err == nil {
		return fmt.Errorf("%s ended by itself", part)
	}
	return fmt.Errorf("running %s: %w", part, err)
}

// stopWithin leaves what is not stopped in time to the end of the process.
func stopWithin(patience time.Duration, log *slog.Logger, stop func()) {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	select {
	case <-stopped:
	case <-time.After(patience):
		log.Warn("stop is not finished, leaving", "patience", patience)
	}
}

// readyLine is the one line on standard output.
type readyLine struct {
	Ready      bool   `json:"ready"`
	URL        string `json:"url"`        // where this process listens, whatever the kubeconfig says
	Kubeconfig string `json:"kubeconfig"` // absolute path
}

func announce(stdout io.Writer, url, kubeconfig string) error {
	if err := json.NewEncoder(stdout).Encode(readyLine{Ready: true, URL: url, Kubeconfig: kubeconfig}); err != nil {
		return fmt.Errorf("announcing readiness: %w", err)
	}
	return nil
}

// listen binds the port before anything else is started, so that a busy one is told at once.
func listen(ctx context.Context, address string, port int) (net.Listener, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d is taken by another process: stop that process, or choose another port with --port (0 picks a free one): %w", port, err)
	}
	if err != nil {
		return nil, fmt.Errorf("listening on port %d: %w", port, err)
	}
	return listener, nil
}

// urlOf is the address for a client on this machine.
func urlOf(listener net.Listener) string {
	addr := listener.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "https://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

// certificateHosts are the names and addresses a client may know this server by.
func certificateHosts(cfg config) ([]string, error) {
	u, err := url.Parse(cfg.serverURL)
	if err != nil {
		return nil, fmt.Errorf("reading the server URL: %w", err)
	}
	hosts := []string{"localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc", u.Hostname()}
	if ip := net.ParseIP(cfg.bindAddress); !ip.IsUnspecified() {
		hosts = append(hosts, ip.String())
	}
	return append(hosts, cfg.sans...), nil
}
