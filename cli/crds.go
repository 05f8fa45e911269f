package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"harmony.dev/devstack/cluster"
	"harmony.dev/fleet/service"
)

// crdManager is who the API server says has set the fields.
const crdManager = "fleet-crds"

func (p *program) crdsCommand() *cli.Command {
	return &cli.Command{
		Name:  "crds",
		Usage: "apply the custom resource definitions to a cluster, and wait until they are served",
		Description: `Applies by server-side apply (field manager "` + crdManager + `"): applying again changes nothing. While the API server cannot be
reached or is not ready it is tried again. No definition is ever deleted.

A container that reaches the cluster by another name than the kubeconfig says gives that one: --server. A kubeconfig with it
is written for others: --write-kubeconfig. docker-compose.yml does so.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", TakesFile: true, Usage: "where the definitions are; default: ../deploy/crds beside the binary, else /crds"},
			kubeconfigFlag(),
			&cli.StringFlag{Name: "server", Usage: "the `URL` of the API server, in the place of the kubeconfig's; needs --write-kubeconfig"},
			&cli.StringFlag{Name: "write-kubeconfig", TakesFile: true, Usage: "a `FILE` to write a kubeconfig with --server to, with the same credentials; only its owner can read it"},
			&cli.StringFlag{Name: "create-namespace", Usage: "the fleet: a namespace to create unless it is there"},
			&cli.DurationFlag{Name: "timeout", Value: time.Minute, Usage: "how long to try, and to wait until they are served"},
		},
		OnUsageError: wrongFlag,
		Action:       p.crds,
	}
}

func kubeconfigFlag() cli.Flag {
	return &cli.StringFlag{Name: "kubeconfig", TakesFile: true, Usage: "the cluster; default: $KUBECONFIG, ~/.kube/config, else the cluster that this runs in"}
}

// cluster connects to the cluster that the command line means.
func (p *program) cluster(c *cli.Context) (cluster.Client, error) {
	return p.clusterOf(c.String("kubeconfig"))
}

// clusterBeside is cluster for a command that goes to NATS, too: beside the NATS server of a development stack it is the API of
// that stack, unless another is named.
func (p *program) clusterBeside(c *cli.Context) (cluster.Client, error) {
	at, err := p.server(c)
	if err != nil {
		return nil, err
	}
	kubeconfig := c.String("kubeconfig")
	if kubeconfig == "" && p.getenv("KUBECONFIG") == "" {
		kubeconfig = at.kubeconfig
	}
	return p.clusterOf(kubeconfig)
}

func (p *program) clusterOf(kubeconfig string) (cluster.Client, error) {
	client, err := cluster.Connect(kubeconfig, p.getenv, "fleet/"+service.BuildVersion())
	if errors.Is(err, cluster.ErrNoCluster) {
		return nil, usagef("%v: name one with --kubeconfig FILE", err)
	}
	return client, err
}

func (p *program) crds(c *cli.Context) error {
	switch {
	case c.NArg() > 0:
		return usagef("'fleet crds' takes no argument, got %q", c.Args().First())
	case c.Duration("timeout") <= 0:
		return usagef("--timeout must be positive")
	case (c.String("server") == "") != (c.String("write-kubeconfig") == ""):
		return usagef("--server and --write-kubeconfig go together")
	case c.String("server") != "" && c.String("kubeconfig") == "":
		return usagef("say which kubeconfig to take the credentials from: --kubeconfig FILE")
	case c.String("create-namespace") != "" && len(validation.IsDNS1123Label(c.String("create-namespace"))) > 0:
		return usagef("--create-namespace %q is no name of a namespace", c.String("create-namespace"))
	}
	dir, err := crdDir(c.String("dir"))
	if err != nil {
		return err
	}
	crds, err := cluster.ReadCRDs(dir)
	if errors.Is(err, cluster.ErrNoDefinitions) {
		return usagef("%v: say where they are with --dir", err)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	if err := p.applyCRDs(ctx, c, crds); err != nil {
		if c.Err() != nil {
			return errors.New("stopped before all definitions were served; run it again to go on")
		}
		return err
	}
	for _, crd := range crds {
		if _, err := fmt.Fprintf(p.out, "%s is served\n", crd.GetName()); err != nil {
			return err
		}
	}
	return nil
}

// applyCRDs tries until it works, time is up, or trying again is of no use. A kubeconfig may be written only while the
// API server starts, so it is read each time.
func (p *program) applyCRDs(ctx context.Context, c *cli.Context, crds []*unstructured.Unstructured) error {
	said := ""
	for {
		client, err := p.clusterOfCRDs(c)
		retry := errors.Is(err, os.ErrNotExist)
		if err == nil {
			err = prepare(ctx, client, crds, c.String("create-namespace"))
			retry = cluster.Unready(err)
		}
		if err == nil || !retry {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("not within %s: %w", c.Duration("timeout"), err)
		}
		if err.Error() != said {
			said = err.Error()
			fmt.Fprintf(p.err, "fleet: %s; trying again\n", readable(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// clusterOfCRDs connects to the cluster by the URL that the command line gives, or the kubeconfig's.
func (p *program) clusterOfCRDs(c *cli.Context) (cluster.Client, error) {
	server, file := c.String("server"), c.String("write-kubeconfig")
	if server == "" {
		return p.cluster(c)
	}
	if err := cluster.CopyKubeconfig(c.String("kubeconfig"), server, file); err != nil {
		return nil, err
	}
	return cluster.Connect(file, p.getenv, "fleet/"+service.BuildVersion())
}

func prepare(ctx context.Context, client cluster.Client, crds []*unstructured.Unstructured, namespace string) error {
	if err := cluster.ApplyCRDs(ctx, client, crdManager, crds); err != nil || namespace == "" {
		return err
	}
	return cluster.EnsureNamespace(ctx, client, crdManager, namespace)
}

// crdDir finds the definitions: of the tree that this binary was built in, else those of an image.
func crdDir(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the running executable: %w", err)
	}
	beside := filepath.Join(filepath.Dir(exe), "..", "deploy", "crds")
	for _, dir := range []string{beside, "/crds"} {
		if _, err := os.Stat(dir); err == nil {
			return dir, nil
		}
	}
	return "", usagef("there are no definitions in %s or /crds: say where they are with --dir", filepath.Clean(beside))
}
