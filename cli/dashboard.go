package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"

	"harmony.dev/cli/dashboard"
	"harmony.dev/devstack"
	"harmony.dev/devstack/cluster"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
	"harmony.dev/fleet/service"
)

const dashboardText = `Serves what the operator knows as web pages that keep themselves up to date, until Ctrl-C. Everybody who reaches the address
may read them: it is on loopback unless --listen says otherwise.

It only shows. With --allow-actions, whoever logs in with the token may approve a hold and, where --kubeconfig or the environment
leads to a cluster, forget a device. The token is read from the file of --token-file, which is made, readable for its owner alone,
when it is not there.`

// minToken is the length of the shortest token, in bytes.
const minToken = 16

func (p *program) dashboardCommand() *cli.Command {
	return &cli.Command{
		Name:        "dashboard",
		Usage:       "serve the fleet as web pages",
		Description: dashboardText,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8484", Usage: "the address to serve on"},
			&cli.StringFlag{Name: "address-file", Usage: "file to write the address to that was really bound"},
			&cli.StringSliceFlag{Name: "host", Usage: "a further name by which browsers reach it; may be given several times"},
			&cli.BoolFlag{Name: "allow-actions", Usage: "let whoever has the token approve holds and forget devices"},
			&cli.StringFlag{Name: "token-file", Usage: "where the token is; is made when it is not there"},
			&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "the fleet: the Kubernetes namespace of its devices; default: that of the services"},
			kubeconfigFlag(),
		},
		OnUsageError: wrongFlag,
		Action:       p.dashboard,
	}
}

func (p *program) dashboard(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef("'fleet dashboard' takes no argument, got %q", c.Args().First())
	}
	if c.Bool("allow-actions") != (c.String("token-file") != "") {
		return usagef("--allow-actions and --token-file FILE go together")
	}
	nc, err := p.connect(c, attentive()...)
	if err != nil {
		return err
	}
	defer nc.Close()
	cfg := p.dashboardConfig(nc)
	cfg.Hosts = c.StringSlice("host")
	if c.Bool("allow-actions") {
		client, namespace, err := p.dashboardCluster(c, nc)
		if err != nil {
			fmt.Fprintf(p.err, "devices cannot be forgotten from the dashboard: %v\n", err)
		}
		if cfg.Actions, err = dashboardActions(nc, c.String("token-file"), client, namespace); err != nil {
			return err
		}
	}
	l, err := (&net.ListenConfig{}).Listen(c.Context, "tcp", c.String("listen"))
	if err != nil {
		return fmt.Errorf("serve the dashboard: %w: choose another address with --listen", err)
	}
	if file := c.String("address-file"); file != "" {
		if err := os.WriteFile(file, []byte(l.Addr().String()+"\n"), 0o644); err != nil {
			return fmt.Errorf("write the address: %w", err)
		}
	}
	fmt.Fprintf(p.err, "the dashboard is at http://%s\n", l.Addr())
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		fmt.Fprintln(p.err, "it is not on loopback: everybody who reaches this address may read it, over plain HTTP")
	}
	return dashboard.New(cfg).Serve(c.Context, l)
}

// dashboardCluster returns where the resources of devices are. On an error the client is nil.
func (p *program) dashboardCluster(c *cli.Context, nc *nats.Conn) (client cluster.Client, namespace string, err error) {
	if namespace, err = namespaceOf(c, nc); err != nil {
		return nil, "", err
	}
	client, err = p.clusterBeside(c)
	return client, namespace, err
}

// attentive are the options of a connection that notices a server that is gone as soon as its readers do, and sends
// nothing late.
func attentive() []nats.Option {
	return []nats.Option{
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectBufSize(-1),
	}
}

func (p *program) dashboardConfig(nc *nats.Conn) dashboard.Config {
	return dashboard.Config{NATS: nc, Log: slog.New(slog.NewTextHandler(p.err, nil))}
}

// devDashboard serves the dashboard of a development stack, with whose token everything may be done.
func (p *program) devDashboard(ctx context.Context, st devstack.Stack) error {
	nc, err := nats.Connect(st.NATSURL, append(attentive(), nats.Name("fleet dev dashboard"), nats.MaxReconnects(-1))...)
	if err != nil {
		return fmt.Errorf("connect the dashboard: %w", err)
	}
	defer nc.Close()
	client, err := cluster.Connect(st.Kubeconfig, p.getenv, "fleet/"+service.BuildVersion())
	if err != nil {
		return fmt.Errorf("connect the dashboard to Kubernetes: %w", err)
	}
	cfg := p.dashboardConfig(nc)
	if cfg.Actions, err = dashboardActions(nc, filepath.Join(st.Dir, devstack.TokenFile), client, st.Namespace); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", st.Dashboard)
	if err != nil {
		return fmt.Errorf("serve the dashboard: %w", err)
	}
	return dashboard.New(cfg).Serve(ctx, l)
}

// dashboardActions returns what somebody who has the token may do. Without a client no device can be forgotten.
func dashboardActions(nc *nats.Conn, tokenFile string, client cluster.Client, namespace string) (*dashboard.Actions, error) {
	token, err := readToken(tokenFile)
	if err != nil {
		return nil, err
	}
	a := &dashboard.Actions{Token: token, Approve: func(ctx context.Context, hold string) error {
		_, err := rpc.Call[fleet.HoldApproveRequest, fleet.HoldApproveResponse](ctx, nc, fleet.HoldApprove, fleet.HoldApproveRequest{ID: hold})
		return err
	}}
	if client != nil {
		a.Forget = func(ctx context.Context, device string) error {
			return forgetDevice(ctx, nc, client, namespace, device)
		}
	}
	return a, nil
}

// readToken reads the token of a file, which it makes when it is not there.
func readToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		token := rand.Text()
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			return "", fmt.Errorf("make the token: %w", err)
		}
		return token, nil
	}
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if len(token) < minToken {
		return "", fmt.Errorf("the token in %s has %d characters: it needs %d at least; a file that is not there is made", file, len(token), minToken)
	}
	return token, nil
}

// forgetDevice deletes the resource of a device that is not alive, the one that the operator means.
func forgetDevice(ctx context.Context, nc *nats.Conn, client cluster.Client, namespace, name string) error {
	got, err := rpc.Call[fleet.GetRequest, fleet.DevicesGetResponse](ctx, nc, fleet.DevicesGet, fleet.GetRequest{Name: name})
	if err != nil {
		return err
	}
	if got.Device.State == fleet.DeviceFresh {
		return fleet.Errorf(fleet.CodeConflict, "Alive", "device %s is alive: it would register again at once. To keep it out, quarantine it; to reset it: fleet devices forget --force %s", name, name)
	}
	resource, found, err := cluster.FindDevice(ctx, client, namespace, name)
	switch {
	case err != nil:
		return err
	case !found || string(resource.UID) != got.Device.UID:
		return fleet.Errorf(fleet.CodeConflict, "Changed", "the operator and Kubernetes do not speak of the same device %s: look again", name)
	}
	return cluster.DeleteDevice(ctx, client, namespace, resource)
}
