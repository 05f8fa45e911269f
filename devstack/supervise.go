package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"harmony.dev/fleet/child"
	"harmony.dev/fleet/service"
)

// How long a program that ended waits before it is started again: doubled each time it ends soon.
const (
	firstWait = 250 * time.Millisecond
	lastWait  = 5 * time.Second
)

// stopWithin is how long a child has to stop by itself before it is killed.
const stopWithin = 25 * time.Second

// program is a child process and how to start it again.
type program struct {
	name string
	args []string
	env  []string
}

// supervise keeps a program running until ctx ends, then stops it. A program that ends by itself is
// a bug worth seeing: it is said, and it is started again, later each time up to 5 s.
func supervise(ctx context.Context, st *stack, p program) error {
	log, err := os.OpenFile(filepath.Join(st.cfg.Dir, "logs", p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.name, err)
	}
	defer log.Close() //nolint:errcheck // a log file for people
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		began := time.Now()
		proc, err := child.Start(child.Spec{
			Name: p.name, Path: filepath.Join(st.cfg.BinDir, p.name), Args: p.args, Env: append(service.WithoutSettings(os.Environ()), p.env...),
			Stdout: log, Stderr: log,
		})
		if err != nil {
			return fmt.Errorf("start %s: %w", p.name, err)
		}
		select {
		case <-ctx.Done():
			return stopChild(proc)
		case <-proc.Done():
			st.say("%s ended (%s), starting it again; its log: %s", p.name, exitText(proc), st.rel(log.Name()))
			if time.Since(began) > time.Minute {
				wait = firstWait
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func stopChild(proc *child.Process) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	return proc.Stop(ctx)
}

// exitText says how a program ended: "signal: killed".
func exitText(proc *child.Process) string {
	err := proc.Err()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.String()
	}
	if err != nil {
		return err.Error()
	}
	return "exit status 0"
}
