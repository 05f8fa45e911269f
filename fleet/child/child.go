package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Spec describes a child process.
type Spec struct {
	Name string   // for errors
	Path string   // of the program, or its name in $PATH
	Args []string // without the program's name
	Env  []string // KEY=value; nil means the parent's
	Dir  string   // "" means the parent's
	// Stdout and Stderr get the child's output; nil drops it. Both may be the same: writes do not mix.
	Stdout, Stderr io.Writer
	// OnStdoutLine gets each line of the standard output, without its end, beside Stdout.
	OnStdoutLine func(string)
}

// outputLimit bounds how long after a child's end its output may stay open: a grandchild may hold it.
const outputLimit = 2 * time.Second

// Process is a started child. It is reaped as soon as it ends.
type Process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // after done
}

// Start starts a child. The caller must see it to its end: by Kill, Stop or Done.
func Start(s Spec) (*Process, error) {
	cmd := exec.Command(s.Path, s.Args...) //nolint:noctx // a child's life ends by Stop or Kill, which wait for it
	cmd.Env, cmd.Dir, cmd.WaitDelay = s.Env, s.Dir, outputLimit
	cmd.SysProcAttr = ownGroup()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	lines := connect(cmd, s)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, errors.Join(err, stdin.Close()))
	}
	p := &Process{name: s.Name, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
		lines.flush()
	}()
	return p, nil
}

// connect sets the child's outputs. A file is handed to the child itself.
func connect(cmd *exec.Cmd, s Spec) *lineWriter {
	lines := &lineWriter{f: s.OnStdoutLine}
	var mu sync.Mutex
	cmd.Stdout, cmd.Stderr = share(&mu, s.Stdout), share(&mu, s.Stderr)
	if s.OnStdoutLine != nil {
		cmd.Stdout = io.Writer(lines)
		if s.Stdout != nil {
			cmd.Stdout = io.MultiWriter(share(&mu, s.Stdout), lines)
		}
	}
	return lines
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and its output was passed on.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns how the process ended: nil for exit code 0, else an [exec.ExitError]. Before Done it
// is nil.
func (p *Process) Err() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w", p.name, p.err)
	}
	return nil
}

// Signal sends a signal. A process that has ended is not an error.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s to %s: %w", s, p.name, err)
	}
	return nil
}

// Kill ends the process with SIGKILL and waits until it has ended.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Stop asks the process to end with SIGTERM and waits. When ctx ends first, it kills the process and
// says so. How the process ended is what Err says.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("stop %s: killed: %w", p.name, ctx.Err()), p.Kill())
	}
}
