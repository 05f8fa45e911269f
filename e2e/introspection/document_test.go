package introspection

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/service"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// limit is how long a command may take.
const limit = 20 * time.Second

// TestDocument_Examples runs every example, in the order of the document: what one changes, the next ones see.
func TestDocument_Examples(t *testing.T) {
	_, examples := Read(t)
	p := newPerson(t)
	for _, e := range examples {
		if e.Accounts {
			continue // e2e/accounts has a server for it
		}
		t.Run(fmt.Sprintf("line %d", e.Line), func(t *testing.T) { p.try(t, e) })
	}
}

// person sits in the root of the repository, with the tools in the path and a stack like that of "make dev".
type person struct {
	stack *lab.Stack
	env   []string
}

func newPerson(t *testing.T) *person {
	s := lab.New(t, lab.Options{})
	s.StartServices()
	s.Start(fleet.ServiceReconciler) // a standby
	s.StartDevices(24)
	s.WaitReady(4)
	s.AwaitDevices(30*time.Second, 24, "")
	p := &person{stack: s}
	home := t.TempDir()
	kubeconfig := filepath.Join(home, "kubeconfig")
	text, err := os.ReadFile(s.Kube.Kubeconfig)
	if err == nil {
		err = os.WriteFile(kubeconfig, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.env = append(service.WithoutSettings(os.Environ()), "HOME="+home, "XDG_CONFIG_HOME="+home, "NO_COLOR=1", "LC_ALL=C",
		"NATS_URL="+s.NATS.URL(), "KUBECONFIG="+kubeconfig, "PATH="+lab.BinDir(t)+string(os.PathListSeparator)+os.Getenv("PATH"))
	p.must(t, "kubectl config set-context --current --namespace "+s.Fleet)
	return p
}

// shell prepares a command line as it is typed. It has no input.
func (p *person) shell(ctx context.Context, t *testing.T, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir, cmd.Env = lab.Root(t), p.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// run runs a command and returns what it printed.
func (p *person) run(t *testing.T, line string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	out, err := p.shell(ctx, t, line).CombinedOutput()
	return string(out), err
}

// must runs what has to end with exit code 0.
func (p *person) must(t *testing.T, line string) {
	t.Helper()
	if out, err := p.run(t, line); err != nil {
		t.Fatalf("$ %s\n%s%v", line, out, err)
	}
}

// try runs an example.
func (p *person) try(t *testing.T, e Example) {
	if e.Interrupt {
		p.watch(t, e)
		return
	}
	if err := e.Check(p.run(t, e.Command)); err != nil {
		t.Error(err)
	}
}

// watch runs an example that goes on, and those beside it once it has begun, until it has printed what is shown.
func (p *person) watch(t *testing.T, e Example) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := p.shell(ctx, t, e.Command)
	var out fleettest.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ends when it is interrupted is its own affair
	}()
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		<-ended
		if t.Failed() {
			t.Log(e.Check(out.String(), nil))
		}
	}()
	fleettest.Eventually(t, limit/2, "it begins to print what is shown", func() bool { return Begun(e.Shown, out.String()) })
	for _, line := range e.Beside {
		p.must(t, line)
	}
	fleettest.Eventually(t, limit/2, "it prints what is shown", func() bool { return Match(e.Shown, out.String()) == nil })
}

// fewest is how many examples there are at least: a document that lost some would pass else.
const fewest = 70

// TestDocument_TellsOfEveryEndpoint: each is named, and each that may be asked by hand is asked.
func TestDocument_TellsOfEveryEndpoint(t *testing.T) {
	doc, examples := Read(t)
	if len(examples) < fewest {
		t.Errorf("%d examples, want at least %d", len(examples), fewest)
	}
	for _, text := range untold(doc, examples, fleet.Endpoints()) {
		t.Error(text)
	}
}

func TestUntold(t *testing.T) {
	list, approve := fleet.DevicesList, fleet.HoldApprove
	all := []fleet.Endpoint{list, approve}
	for name, c := range map[string]struct {
		doc, command string
		want         int
	}{
		"asked by subject":        {list.Subject + " " + approve.Subject, "nats request " + list.Subject + " '{}'", 0},
		"asked by name":           {list.Subject + " " + approve.Subject, "nats micro request fleet-aggregator devices-list '{}'", 0},
		"not asked":               {list.Subject + " " + approve.Subject, "nats micro ls", 1},
		"asked of another":        {list.Subject + " " + approve.Subject, "nats micro request fleet-patcher devices-list '{}'", 1},
		"another, longer subject": {list.Subject + "s " + approve.Subject, "nats request " + list.Subject + "s '{}'", 2},
		"not named":               {list.Subject, "nats request " + list.Subject, 1},
	} {
		if got := untold(c.doc, []Example{{Command: c.command}}, all); len(got) != c.want {
			t.Errorf("%s: %q, want %d", name, got, c.want)
		}
	}
}

// untold says which endpoints a document does not name, and which of those that change nothing it does not ask.
func untold(doc string, examples []Example, endpoints []fleet.Endpoint) []string {
	var out []string
	named := words(doc)
	asked := map[string]bool{}
	for _, e := range examples {
		in := words(e.Command)
		for _, ep := range endpoints {
			asked[ep.Subject] = asked[ep.Subject] || in[ep.Subject] || in["request"] && in[ep.Service] && in[ep.Name]
		}
	}
	for _, ep := range endpoints {
		if !named[ep.Subject] {
			out = append(out, ep.Subject+" is not named")
		}
		if ep.Role != fleet.RoleActing && !asked[ep.Subject] {
			out = append(out, ep.Subject+" is not asked")
		}
	}
	return out
}

// words are those of a text, with the characters that subjects and names have.
func words(text string) map[string]bool {
	out := map[string]bool{}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789.-", r)
	}) {
		out[strings.Trim(word, ".-")] = true // the end of a sentence is none of its last word
	}
	return out
}
