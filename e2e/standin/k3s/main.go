// Command k3s stands in for a k3s server without an agent, where its image cannot be had: it serves a real
// Kubernetes API (kubeapi) behind k3s's own command line, environment and kubeconfig. It takes the flags and
// variables that docker-compose.yml uses, and refuses all others, so that the file asks for nothing unproven.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/urfave/cli/v2"
)

const (
	kubeapi     = "/bin/kubeapi"
	dataDir     = "/var/lib/rancher/k3s/server"
	kubeconfig  = "/etc/rancher/k3s/k3s.yaml"
	defaultMode = "600"
	apiPort     = 6443
)

func main() {
	app := &cli.App{
		Name: "k3s",
		Commands: []*cli.Command{{
			Name: "server",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "write-kubeconfig", Aliases: []string{"o"}, Value: kubeconfig, EnvVars: []string{"K3S_KUBECONFIG_OUTPUT"}},
				&cli.StringFlag{Name: "write-kubeconfig-mode", Value: defaultMode, EnvVars: []string{"K3S_KUBECONFIG_MODE"}},
				&cli.StringSliceFlag{Name: "tls-san"},
				// What a real server is told not to run, this one does not have.
				&cli.BoolFlag{Name: "disable-agent"},
				&cli.BoolFlag{Name: "disable-cloud-controller"},
				&cli.BoolFlag{Name: "disable-helm-controller"},
				&cli.BoolFlag{Name: "disable-network-policy"},
				&cli.BoolFlag{Name: "disable-scheduler"},
				&cli.StringFlag{Name: "flannel-backend"},
				&cli.StringSliceFlag{Name: "disable"},
			},
			Action: serve,
		}},
		Action: func(c *cli.Context) error { return fmt.Errorf("no such command here: %q", c.Args().First()) },
	}
	if err := app.Run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "k3s:", err)
		os.Exit(1)
	}
}

func serve(c *cli.Context) error {
	if !c.Bool("disable-agent") {
		return errors.New("there is no agent in this image: say --disable-agent")
	}
	mode, err := strconv.ParseUint(c.String("write-kubeconfig-mode"), 8, 32)
	if err != nil {
		return fmt.Errorf("--write-kubeconfig-mode: %w", err)
	}
	output := c.String("write-kubeconfig")
	args := []string{
		"--data-dir", dataDir, "--bind-address", "0.0.0.0", "--port", strconv.Itoa(apiPort), "--kubeconfig", output,
		"--server-url", fmt.Sprintf("https://127.0.0.1:%d", apiPort), "--namespace", "default",
	}
	for _, name := range c.StringSlice("tls-san") {
		args = append(args, "--san", name)
	}
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGTERM, os.Interrupt)
	defer stop()
	return run(ctx, args, func() error { return os.Chmod(output, os.FileMode(mode)) })
}

// run runs the API, and calls ready once it serves.
func run(ctx context.Context, args []string, ready func() error) error {
	cmd := exec.CommandContext(ctx, kubeapi, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err == nil { // its one line says that it serves
		if err := ready(); err != nil {
			return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
		}
	}
	_, _ = io.Copy(io.Discard, lines)
	if err := cmd.Wait(); ctx.Err() == nil {
		return fmt.Errorf("the API ended: %w", err)
	}
	return nil
}
