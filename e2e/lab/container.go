package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// commandLimit bounds how long a command to the engine may take.
const commandLimit = time.Minute

// process is what an instance or a server runs as: a child of the test, or a container.
type process interface {
	Pid() int
	Done() <-chan struct{}
	Err() error // of a process that has ended: nil for exit code 0
	Signal(os.Signal) error
	Kill() error
	Stop(ctx context.Context) error
}

// container is one start of a container.
type container struct {
	id   string
	pid  int // of its main process, on this machine
	done chan struct{}

	mu     sync.Mutex
	err    error
	paused bool
}

// follow returns a container that was just started. What it has printed since goes to out.
func follow(name string, started time.Time, out io.Writer) (*container, error) {
	logs := exec.CommandContext(context.Background(), "docker", "logs", "--follow", "--since", started.UTC().Format(time.RFC3339Nano), name)
	logs.Stdout, logs.Stderr = out, out
	if err := logs.Start(); err != nil {
		return nil, fmt.Errorf("read the log of container %s: %w", name, err)
	}
	c, err := attach(name, func() { _ = logs.Wait() }) // it ends with the container
	if err != nil {
		return nil, errors.Join(err, logs.Process.Kill(), logs.Wait())
	}
	return c, nil
}

// attach returns a container that runs. When it has ended, last is called before Done says so.
func attach(name string, last func()) (*container, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	text, err := docker(ctx, "inspect", "--format", "{{.Id}} {{.State.Pid}}", name)
	if err != nil {
		return nil, err
	}
	id, pid, _ := strings.Cut(text, " ")
	c := &container{id: id, done: make(chan struct{})}
	if c.pid, err = strconv.Atoi(pid); err != nil || c.pid <= 0 {
		said, _ := docker(ctx, "logs", "--tail", "5", id) // what there is of it
		return nil, fmt.Errorf("container %s does not run (its process is %q, %w): %s", name, pid, err, said)
	}
	go func() {
		defer close(c.done)
		code, err := docker(context.Background(), "wait", id)
		if err == nil && code != "0" {
			err = fmt.Errorf("exit status %s", code)
		}
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
		last()
	}()
	return c, nil
}

// Pid implements process.
func (c *container) Pid() int { return c.pid }

// Done implements process.
func (c *container) Done() <-chan struct{} { return c.done }

// Err implements process.
func (c *container) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Signal pauses the container by SIGSTOP, continues it by SIGCONT, and sends it any other signal.
func (c *container) Signal(s os.Signal) error {
	switch s {
	case syscall.SIGSTOP:
		return c.pause("pause", true)
	case syscall.SIGCONT:
		return c.pause("unpause", false)
	}
	sig, ok := s.(syscall.Signal)
	if !ok {
		return fmt.Errorf("not a signal: %v", s)
	}
	return c.send(sig)
}

// send sends a signal to the main process. One that has ended is no error: another may have its id by now.
func (c *container) send(s syscall.Signal) error {
	select {
	case <-c.done:
		return nil
	default:
	}
	if c.pid <= 0 {
		return fmt.Errorf("container %.12s has no process", c.id) // 0 would be the test itself, and all that it started
	}
	if err := syscall.Kill(c.pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %s to container %.12s: %w", s, c.id, err)
	}
	return nil
}

func (c *container) pause(command string, paused bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	if _, err := docker(ctx, command, c.id); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = paused
	return nil
}

// Kill sends SIGKILL to the main process on this machine, past the engine, and waits until the container has ended.
func (c *container) Kill() error {
	if err := c.send(syscall.SIGKILL); err != nil {
		return err
	}
	c.mu.Lock()
	paused := c.paused
	c.mu.Unlock()
	if paused { // a frozen process dies when it thaws
		if err := c.pause("unpause", false); err != nil {
			return err
		}
	}
	<-c.done
	return nil
}

// Stop has the engine stop the container, which sends SIGTERM, and waits until it has ended.
func (c *container) Stop(ctx context.Context) error {
	if _, err := docker(ctx, "stop", "--time", "25", c.id); err != nil {
		return err
	}
	<-c.done
	return nil
}
