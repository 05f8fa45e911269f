package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"harmony.dev/fleet/service"
)

// Kubectl runs the public kubectl against the stack's API and returns what it printed.
func (s *Stack) Kubectl(ctx context.Context, args ...string) (string, error) {
	return s.command(ctx, "kubectl", append([]string{"--namespace", s.Fleet}, args...), "KUBECONFIG="+s.Kube.Kubeconfig)
}

// NATSCommand runs the public nats command against the stack's server.
func (s *Stack) NATSCommand(ctx context.Context, args ...string) (string, error) {
	flags := []string{"--server", s.NATS.URL()}
	if s.project != nil {
		flags = []string{"--context", s.adminContext()}
	}
	return s.command(ctx, "nats", append(flags, args...))
}

// FleetCommand runs the product's own command line against the stack.
func (s *Stack) FleetCommand(ctx context.Context, args ...string) (string, error) {
	flags := []string{"--nats-url", s.NATS.URL()}
	if s.project != nil {
		flags = []string{"--nats-context", s.adminContext()}
	}
	return s.command(ctx, "fleet", append(flags, args...))
}

// adminContext is the shipped context for people, with the ports of the project: where a server has users, commands
// are told so by a file, since what they print has no password.
func (s *Stack) adminContext() string {
	s.t.Helper()
	context := map[string]string{}
	text, err := os.ReadFile(filepath.Join(s.project.root, "deploy", "compose", "secrets", "admin.json"))
	if err == nil {
		err = json.Unmarshal(text, &context)
	}
	context["url"] = s.NATS.addresses("")
	if err == nil {
		text, err = json.Marshal(context)
	}
	file := filepath.Join(s.dir, "admin.json")
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		s.t.Fatalf("write a NATS context: %v", err)
	}
	return file
}

// command runs a program with a home of its own, so that no configuration of the machine plays a part.
func (s *Stack) command(ctx context.Context, name string, args []string, env ...string) (string, error) {
	return s.run(exec.CommandContext(ctx, filepath.Join(s.bin, name), args...), env...)
}

func (s *Stack) run(cmd *exec.Cmd, env ...string) (string, error) {
	cmd.Env = append(service.WithoutSettings(os.Environ()), append([]string{"HOME=" + s.dir, "XDG_CONFIG_HOME=" + s.dir, "NO_COLOR=1"}, env...)...)
	cmd.Dir = s.dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// BinDir is where the binaries are built into.
func BinDir(t testing.TB) string { return filepath.Join(Root(t), "bin") }

// Shell runs a command line as a person pastes it, with the stack's tools in the path.
func (s *Stack) Shell(ctx context.Context, line string) (string, error) {
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	return s.run(cmd, "PATH="+s.bin+string(os.PathListSeparator)+os.Getenv("PATH"))
}
