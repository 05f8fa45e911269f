package cli

import (
	"errors"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"harmony.dev/e2e/lab"
)

// patience is how long scripts wait for what takes a second or two.
const patience = 40 * time.Second

// bench is what scripts may do to the operator.
type bench struct {
	stack    *lab.Stack
	services map[string]*lab.Instance
}

// exits runs a command that is to end with an exit code: "exits 2 fleet nosuch".
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	if got := run(ts, args[1:]); got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// until runs a command again until it ends with an exit code and its standard output has a pattern:
// "until 0 '^web +6' fleet get deployments". The output is that of the last time.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: until CODE PATTERN COMMAND...")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if last := time.Now().After(end); last || matches(probe(ts, args[2:]), args[0], pattern) {
			code := run(ts, args[2:])
			switch out := ts.ReadFile("stdout"); {
			case matches(result{code, out}, args[0], pattern):
				return
			case last:
				ts.Fatalf("after %s: exit code %s, no %q", patience, code, args[1])
			}
		}
	}
}

type result struct{ code, out string }

func matches(r result, code string, pattern *regexp.Regexp) bool {
	return r.code == code && pattern.MatchString(r.out)
}

// probe runs a command beside the script, whose log would have the output of every time.
func probe(ts *testscript.TestScript, command []string) result {
	cmd := exec.Command("env", command...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "XDG_CONFIG_HOME", "KUBECONFIG", "FLEET_NATS_URL", "NATS_URL", "NS"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		ts.Fatalf("%v", err)
	}
	return result{strconv.Itoa(cmd.ProcessState.ExitCode()), string(out)}
}

// run runs a command and returns its exit code.
func run(ts *testscript.TestScript, command []string) string {
	err := ts.Exec(command[0], command[1:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return strconv.Itoa(exit.ExitCode())
	}
	ts.Check(err)
	return "0"
}

// vanish has a resource deleted without anybody seeing it deleted: "vanish Deployment web".
func (b *bench) vanish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: vanish KIND NAME")
	}
	b.stack.API.Vanish(args[0], args[1])
}

// service kills or starts a service: "service kill fleet-patcher".
func (b *bench) service(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || b.services[args[1]] == nil {
		ts.Fatalf("usage: service kill|start NAME")
	}
	switch args[0] {
	case "kill":
		b.services[args[1]].Kill()
	case "start":
		b.services[args[1]].Start()
		b.stack.WaitReady(len(b.services))
	default:
		ts.Fatalf("usage: service kill|start NAME")
	}
}
