package child_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"harmony.dev/fleet/child"
)

const within = 10 * time.Second

// mode makes the test binary a child: it is the name of a role below.
const mode = "CHILD_TEST_MODE"

func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv(mode)]; ok {
		os.Exit(role())
	}
	goleak.VerifyTestMain(m)
}

var roles = map[string]func() int{
	"lines": func() int {
		fmt.Print("one\ntwo\r\nlast without end")
		fmt.Fprintln(os.Stderr, "an error")
		return 3
	},
	"until-eof": untilEOF,
	"stubborn": func() int {
		signal.Ignore(syscall.SIGTERM)
		return untilEOF()
	},
	"term": func() int {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		fmt.Println("ready")
		<-signals
		return 0
	},
	"parent": func() int {
		if _, err := start("until-eof", child.Spec{Stdout: os.Stdout}); err != nil {
			fmt.Println(err)
			return 1
		}
		return untilEOF()
	},
}

func untilEOF() int {
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func start(role string, s child.Spec) (*child.Process, error) {
	s.Name, s.Path = role, os.Args[0]
	s.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, mode+"=") }), mode+"="+role)
	return child.Start(s)
}

// startReady starts a child and waits until it says so.
func startReady(t *testing.T, role string) *child.Process {
	t.Helper()
	ready := make(chan struct{})
	var once sync.Once
	p, err := start(role, child.Spec{OnStdoutLine: func(string) { once.Do(func() { close(ready) }) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	wait(t, ready, role+" is ready")
	return p
}

func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(within):
		t.Fatalf("not within %s: %s", within, what)
	}
}

func TestStart_PassesOutputOn(t *testing.T) {
	var lines []string
	var both strings.Builder // written by two goroutines of the process
	p, err := start("lines", child.Spec{Stdout: &both, Stderr: &both, OnStdoutLine: func(l string) { lines = append(lines, l) }})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, p.Done(), "the child has ended")
	if want := []string{"one", "two", "last without end"}; !slices.Equal(lines, want) {
		t.Errorf("lines %q, want %q", lines, want)
	}
	if got := both.String(); !strings.Contains(got, "last without end") || !strings.Contains(got, "an error") {
		t.Errorf("output %q", got)
	}
	exit, ok := errors.AsType[*exec.ExitError](p.Err())
	if !ok || exit.ExitCode() != 3 || !strings.HasPrefix(p.Err().Error(), "lines: ") {
		t.Errorf("ended with %v", p.Err())
	}
}

func TestStart_NoSuchProgram(t *testing.T) {
	if _, err := child.Start(child.Spec{Name: "ghost", Path: "/nonexistent/ghost"}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

func TestStop(t *testing.T) {
	t.Run("a child that obeys", func(t *testing.T) {
		p := startReady(t, "term")
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		if err := p.Stop(ctx); err != nil || p.Err() != nil {
			t.Fatalf("stop: %v, ended with %v", err, p.Err())
		}
		if err := errors.Join(p.Stop(ctx), p.Kill(), p.Signal(syscall.SIGTERM)); err != nil {
			t.Errorf("again: %v", err)
		}
	})
	t.Run("a child that does not", func(t *testing.T) {
		p := startReady(t, "stubborn")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := p.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("stop: %v", err)
		}
		if p.Err() == nil {
			t.Error("killed without an error")
		}
	})
	t.Run("a stopped child", func(t *testing.T) {
		p := startReady(t, "term")
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := p.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("stop: %v", err)
		}
	})
}

func TestKill_LeavesNoZombie(t *testing.T) {
	p := startReady(t, "until-eof")
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is still there: %v", err)
	}
}

func TestStart_OwnProcessGroup(t *testing.T) {
	p := startReady(t, "until-eof")
	group, err := syscall.Getpgid(p.Pid())
	if err != nil || group != p.Pid() {
		t.Errorf("group %d of process %d, %v", group, p.Pid(), err)
	}
}

// TestStart_ChildEndsWithItsKilledParent kills a parent with SIGKILL. Its child holds the test's pipe
// open until it ends.
func TestStart_ChildEndsWithItsKilledParent(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	parent, err := start("parent", child.Spec{Stdout: w})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = parent.Kill() })
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewScanner(r)
	for _, who := range []string{"parent or child", "the other"} {
		if !out.Scan() || out.Text() != "ready" {
			t.Fatalf("%s is not ready: %q, %v", who, out.Text(), out.Err())
		}
	}
	if err := parent.Kill(); err != nil {
		t.Fatal(err)
	}
	if out.Scan() || out.Err() != nil {
		t.Fatalf("the child of the killed parent has not ended: %q, %v", out.Text(), out.Err())
	}
}
