package lab

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// wall does to the network of one container what proxies do to that of a child process: by the engine, or inside
// the container's network namespace.
type wall struct {
	t    testing.TB
	port int // of the server that it is on the way to
	of   func() *container
}

// refuse has the kernel refuse connections to the server, and ends those that there are.
func (w *wall) refuse() {
	w.rule("--append")
	w.cut()
}

// accept takes connections again.
func (w *wall) accept() { w.rule("--delete") }

func (w *wall) rule(verb string) {
	w.inside("iptables", verb, "OUTPUT", "--protocol", "tcp", "--dport", strconv.Itoa(w.port), "--jump", "REJECT", "--reject-with", "tcp-reset")
}

// cut has the kernel end its connections.
func (w *wall) cut() { w.inside("ss", "--kill", "--tcp", "dport", "=", ":"+strconv.Itoa(w.port)) }

// swallow takes the container off its network, and puts it on again: whatever is on the way is lost without a word.
func (w *wall) swallow(on bool) {
	if on {
		w.must("docker", "network", "disconnect", "--force", projectName+"_fleet", w.of().id)
		return
	}
	w.must("docker", "network", "connect", projectName+"_fleet", w.of().id)
}

// dialed counts the connections that the container tries to make to the server, from the first call on, also those that are
// refused.
func (w *wall) dialed() int {
	w.t.Helper()
	counted := fmt.Sprintf("dpt:%d", w.port)
	for _, line := range strings.Split(w.inside("iptables", "--list", "OUTPUT", "--numeric", "--verbose", "--exact"), "\n") {
		if fields := strings.Fields(line); slices.Contains(fields, counted) && !slices.Contains(fields, "REJECT") {
			n, err := strconv.Atoi(fields[0])
			if err != nil {
				w.t.Fatalf("read how many connections there were: %q", line)
			}
			return n
		}
	}
	w.inside("iptables", "--insert", "OUTPUT", "--protocol", "tcp", "--syn", "--dport", strconv.Itoa(w.port))
	return 0
}

// inside runs a command of this machine in the container's network namespace.
func (w *wall) inside(command ...string) string {
	w.t.Helper()
	return w.must(append([]string{"nsenter", "--net=" + fmt.Sprintf("/proc/%d/ns/net", w.of().pid)}, command...)...)
}

func (w *wall) must(words ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	out, err := command(ctx, words...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}
