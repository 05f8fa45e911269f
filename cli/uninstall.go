package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
	"k8s.io/apimachinery/pkg/util/validation"

	"harmony.dev/devstack/cluster"
)

const uninstallText = `Deployments and Devices carry finalizers of the operator. Without it nobody takes them off, and what is deleted then waits
for ever: run this before, or after, the operator is removed. It takes off the operator's finalizers, and no other's, from all
Deployments and Devices of the namespace. It deletes nothing: no resource, no definition, no bucket. Devices keep running what
they run.

A patcher that runs adds the finalizers again. Stop it first, or have it scaled down: --scale-down.

In a cluster it needs: list and patch on deployments and devices of fleet.harmony.dev; with --scale-down also get and patch on
deployments/scale of apps. Running it again is safe at any time.`

func (p *program) uninstallCommand() *cli.Command {
	return &cli.Command{
		Name:        "uninstall",
		Usage:       "take the operator's finalizers off all Deployments and Devices of a namespace",
		Description: uninstallText,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "the fleet: a Kubernetes namespace"},
			&cli.StringFlag{Name: "scale-down", Usage: "an apps/v1 Deployment (the patcher's) to scale to 0 first, if it is there"},
			&cli.DurationFlag{Name: "within", Value: time.Minute, Usage: "how long the scaled Deployment may take to have no replicas"},
			kubeconfigFlag(), yesFlag(), outputFlag(),
		},
		OnUsageError: wrongFlag,
		Action:       p.uninstall,
	}
}

// uninstalled is what was done.
type uninstalled struct {
	Namespace  string             `json:"namespace"`
	ScaledDown string             `json:"scaledDown,omitempty"`
	Resources  []cluster.Released `json:"resources"`
}

func (p *program) uninstall(c *cli.Context) error {
	format, err := outputFormat(c)
	if err != nil {
		return err
	}
	namespace, workload := c.String("namespace"), c.String("scale-down")
	switch {
	case c.NArg() > 0:
		return usagef("'fleet uninstall' takes no argument, got %q", c.Args().First())
	case namespace == "":
		return usagef("say which fleet: --namespace NS")
	case len(validation.IsDNS1123Label(namespace)) > 0:
		return usagef("--namespace %q is no name of a namespace", namespace)
	case workload != "" && len(validation.IsDNS1123Subdomain(workload)) > 0:
		return usagef("--scale-down %q is no name of a Deployment", workload)
	case c.Duration("within") <= 0:
		return usagef("--within must be positive")
	}
	client, err := p.cluster(c)
	if err != nil {
		return err
	}
	question := "Take the operator's finalizers off all Deployments and Devices of namespace " + namespace + ": what is deleted then is gone at once."
	if workload != "" {
		question = "Scale deployment " + workload + " to 0. " + question
	}
	if err := p.confirm(c, question); err != nil {
		return err
	}
	done := uninstalled{Namespace: namespace}
	if workload != "" {
		if done.ScaledDown, err = p.scaleDown(c, client, namespace, workload); err != nil {
			return err
		}
	}
	return p.release(c, client, format, done)
}

func (p *program) scaleDown(c *cli.Context, client cluster.Client, namespace, workload string) (string, error) {
	fmt.Fprintf(p.err, "scaling deployment %s to 0\n", workload)
	found, err := cluster.ScaleDown(c.Context, client, namespace, workload, c.Duration("within"))
	if err != nil {
		if c.Err() != nil {
			return "", fmt.Errorf("stopped before deployment %s was down: no finalizer was touched; run it again to go on", workload)
		}
		return "", fmt.Errorf("%w: no finalizer was touched; look at it with: kubectl -n %s get deployment,pods", err, namespace)
	}
	if !found {
		fmt.Fprintf(p.err, "there is no deployment %s in namespace %s: nothing to scale down\n", workload, namespace)
		return "", nil
	}
	return workload, nil
}

func (p *program) release(c *cli.Context, client cluster.Client, format string, done uninstalled) error {
	shown := time.Now()
	resources, err := cluster.ReleaseFinalizers(c.Context, client, done.Namespace, func(rs []cluster.Released) {
		if time.Since(shown) < time.Second {
			return
		}
		shown = time.Now()
		for _, r := range rs {
			if r.Found > 0 {
				fmt.Fprintf(p.err, "%s: %d released\n", r.Resource, r.Released)
			}
		}
	})
	done.Resources = resources
	if err := p.showUninstalled(format, done); err != nil {
		return err
	}
	switch {
	case c.Err() != nil:
		return errors.New("stopped before all finalizers were off; run it again to go on")
	case errors.Is(err, cluster.ErrPutBack):
		return fmt.Errorf("%w: stop it, and run this again; in a cluster --scale-down NAME stops the Deployment of that name", err)
	}
	return err
}

func (p *program) showUninstalled(format string, done uninstalled) error {
	if format == formatJSON || format == formatYAML {
		return encode(p.out, format, done)
	}
	var rows [][]string
	for _, r := range done.Resources {
		note := ""
		switch {
		case r.Missing:
			note = "not defined in this cluster"
		case r.Kept > 0:
			note = fmt.Sprintf("%d have finalizers of others, which stay", r.Kept)
		}
		rows = append(rows, []string{r.Resource, strconv.Itoa(r.Found), strconv.Itoa(r.Released), dash(note)})
	}
	return newTable(p.out, "RESOURCE", "FOUND", "RELEASED", "NOTE").print(rows)
}
