package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"harmony.dev/fleet/child"
	"harmony.dev/fleet/service"
)

// runKube starts the embedded Kubernetes API, unless there is a cluster already, and keeps it running
// until stop is called.
func (st *stack) runKube(ctx context.Context) (stop func(), err error) {
	if st.kubeconfig != "" {
		st.say("using the cluster of %s", st.kubeconfig)
		return func() {}, nil
	}
	st.kubeconfig = filepath.Join(st.cfg.Dir, "kubeconfig")
	proc, err := st.startKube(ctx)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		st.keepKube(life, proc)
	}()
	return func() { end(); <-done }, nil
}

// keepKube starts the API again when it ends, with the same port and data, until ctx ends. Then it
// stops it.
func (st *stack) keepKube(ctx context.Context, proc *child.Process) {
	for {
		select {
		case <-ctx.Done():
			if err := stopChild(proc); err != nil {
				st.say("%v", err)
			}
			return
		case <-proc.Done():
		}
		st.say("kubeapi ended (%s), starting it again; its log: %s", exitText(proc), st.rel(st.kubeLog()))
		for {
			next, err := st.startKube(ctx)
			if err == nil {
				proc = next
				break
			}
			if ctx.Err() != nil {
				return
			}
			st.say("%v", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(lastWait):
			}
		}
	}
}

func (st *stack) kubeLog() string { return filepath.Join(st.cfg.Dir, "logs", "kubeapi.log") }

// startKube starts the API and waits until it serves.
func (st *stack) startKube(ctx context.Context) (*child.Process, error) {
	log, err := os.OpenFile(st.kubeLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of kubeapi: %w", err)
	}
	defer log.Close() //nolint:errcheck // the child has its own handle or copier
	ready := make(chan readyLine, 1)
	proc, err := child.Start(child.Spec{
		Name: "kubeapi",
		Path: filepath.Join(st.cfg.BinDir, "kubeapi"),
		Args: []string{
			"--data-dir", filepath.Join(st.cfg.Dir, "kube"), "--port", strconv.Itoa(st.cfg.Ports.Kube),
			"--kubeconfig", st.kubeconfig, "--namespace", st.cfg.Namespace, "--exit-with-parent",
		},
		Env:    service.WithoutSettings(os.Environ()),
		Stderr: log,
		OnStdoutLine: func(line string) {
			if r, ok := parseReadyLine(line); ok {
				select {
				case ready <- r:
				default:
				}
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("start kubeapi: %w", err)
	}
	select {
	case r := <-ready:
		st.say("the Kubernetes API serves at %s", r.URL)
		return proc, nil
	case <-proc.Done():
		return nil, fmt.Errorf("the Kubernetes API did not start (%s): see %s", exitText(proc), st.kubeLog())
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), stopChild(proc))
	}
}
