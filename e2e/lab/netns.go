package lab

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dialInside connects to an address as a process in the network namespace of pid sees it.
func dialInside(pid int, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	got := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, with its namespace
		conn, err := dialFrom(fmt.Sprintf("/proc/%d/ns/net", pid), address)
		got <- result{conn, err}
	}()
	r := <-got
	return r.conn, r.err
}

func dialFrom(namespace, address string) (net.Conn, error) {
	f, err := os.Open(namespace)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter %s: %w", namespace, err)
	}
	return net.DialTimeout("tcp4", address, 2*time.Second) // an address without a name is dialed on this thread
}

// forward listens on 127.0.0.1 and passes each connection on to what dial returns, until the test ends. It returns
// where it listens.
func forward(t testing.TB, dial func() (net.Conn, error)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for a container: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go pass(near, dial)
		}
	}()
	return l.Addr().String()
}

// pass copies both ways until both have ended.
func pass(near net.Conn, dial func() (net.Conn, error)) {
	defer near.Close()
	far, err := dial()
	if err != nil {
		return // the other end sees that nobody is there
	}
	defer far.Close()
	go func() {
		_, _ = io.Copy(far, near)
		_ = far.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(near, far)
}
