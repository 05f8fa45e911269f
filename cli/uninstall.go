package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"k8s.io/apimachinery/pkg/util/validation"

	"harmony.dev/devstack/cluster"
)

const uninstallText = `Deployments and Devices carry finalizers of the operator. Without it nobody takes them off, and what is deleted then waits
for ever: run this before, or after, the operator is removed. It takes off the operator's finalizers, and no other's, from all
Deployments and Devices of the namespace. It deletes nothing: no resource, no definition, no bucket. Devices keep running what
they run.

A patcher that runs adds the finalizers again, a standby only once it has taken over. Stop all of them first, or have them scaled
down: --scale-down waits until the last pod has ended. Then it watches for a moment, and for --quiet-for when it does not know
that no patcher runs, whether a finalizer comes back. That has to be longer than the --lease-ttl of the patcher, which is 10 s.

A resource that cannot be changed stops no other: it is named at the end, with what the API said, and the exit code is 1.

In a cluster it needs: list and patch on deployments and devices of fleet.harmony.dev; with --scale-down, in the namespace of that
Deployment, also get and patch on deployments/scale of apps, and list on pods. Running it again is safe at any time.`

const (
	// quietUnknown is how long no finalizer may come back when a patcher may run: longer than a standby takes to take over
	// the lease and see what it lacks. quietDown is how long when none has a pod any more.
	quietUnknown = 15 * time.Second
	quietDown    = 3 * time.Second
)

func (p *program) uninstallCommand() *cli.Command {
	return &cli.Command{
		Name:        "uninstall",
		Usage:       "take the operator's finalizers off all Deployments and Devices of a namespace",
		Description: uninstallText,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "the fleet: a Kubernetes namespace"},
			&cli.StringFlag{Name: "scale-down", Usage: "an apps/v1 Deployment (the patcher's) to scale to 0 first, if it is there: NAME, or NAMESPACE/NAME of another namespace"},
			&cli.DurationFlag{Name: "within", Value: time.Minute, Usage: "how long the scaled Deployment may take until its last pod has ended"},
			&cli.DurationFlag{Name: "quiet-for", Value: quietUnknown, Usage: "how long no finalizer may come back, when it is not known that no patcher runs"},
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
	patcher, err := uninstallFlags(c)
	if err != nil {
		return err
	}
	client, err := p.cluster(c)
	if err != nil {
		return err
	}
	done := uninstalled{Namespace: c.String("namespace")}
	question := "Take the operator's finalizers off all Deployments and Devices of namespace " + done.Namespace + ": what is deleted then is gone at once."
	if patcher.name != "" {
		question = "Scale deployment " + patcher.String() + " to 0. " + question
	}
	if err := p.confirm(c, question); err != nil {
		return err
	}
	down := false
	if patcher.name != "" {
		if down, err = p.scaleDown(c, client, patcher); err != nil {
			return err
		}
	}
	if down {
		done.ScaledDown = c.String("scale-down")
	}
	return p.release(c, client, format, done)
}

// workload is an apps/v1 Deployment. Without a name it is none.
type workload struct{ namespace, name string }

// String returns it as --scale-down takes it.
func (w workload) String() string { return w.namespace + "/" + w.name }

// uninstallFlags checks them, and returns what is to be scaled down.
func uninstallFlags(c *cli.Context) (workload, error) {
	patcher := workload{c.String("namespace"), c.String("scale-down")}
	if namespace, name, other := strings.Cut(patcher.name, "/"); other {
		patcher = workload{namespace, name}
	}
	namespace, asked := c.String("namespace"), c.String("scale-down") != ""
	switch {
	case c.NArg() > 0:
		return patcher, usagef("'fleet uninstall' takes no argument, got %q", c.Args().First())
	case namespace == "":
		return patcher, usagef("say which fleet: --namespace NS")
	case len(validation.IsDNS1123Label(namespace)) > 0:
		return patcher, usagef("--namespace %q is no name of a namespace", namespace)
	case asked && (len(validation.IsDNS1123Label(patcher.namespace)) > 0 || len(validation.IsDNS1123Subdomain(patcher.name)) > 0):
		return patcher, usagef("--scale-down %q is no name of a Deployment", c.String("scale-down"))
	case c.Duration("within") <= 0:
		return patcher, usagef("--within must be positive")
	case c.Duration("quiet-for") < 0:
		return patcher, usagef("--quiet-for must not be negative")
	}
	return patcher, nil
}

// scaleDown reports whether it is known that no pod of the patcher is left.
func (p *program) scaleDown(c *cli.Context, client cluster.Client, patcher workload) (bool, error) {
	fmt.Fprintf(p.err, "scaling deployment %s to 0\n", patcher)
	within := c.Duration("within")
	found, err := cluster.ScaleDown(c.Context, client, patcher.namespace, patcher.name, within, func(pods []string) {
		fmt.Fprintf(p.err, "waiting, at most %s in all, until its pods have ended: %s\n", within, strings.Join(pods, ", "))
	})
	if err != nil {
		if c.Err() != nil {
			return false, fmt.Errorf("stopped before deployment %s was down: no finalizer was touched; run it again to go on", patcher)
		}
		return false, fmt.Errorf("%w: no finalizer was touched; look at it with: kubectl -n %s get deployment,pods", err, patcher.namespace)
	}
	if !found {
		fmt.Fprintf(p.err, "there is no deployment %s in namespace %s: nothing to scale down\n", patcher.name, patcher.namespace)
	}
	return found, nil
}

// quietTime is how long no finalizer may come back, and why so long.
func quietTime(c *cli.Context, down bool) (quiet time.Duration, why string) {
	quiet = c.Duration("quiet-for")
	if down {
		return min(quiet, quietDown), "no pod of the patcher is left"
	}
	return quiet, "it is not known that no patcher runs (--quiet-for)"
}

func (p *program) release(c *cli.Context, client cluster.Client, format string, done uninstalled) (err error) {
	quiet, why := quietTime(c, done.ScaledDown != "")
	shown := p.progress("finalizers", "resources released", 0)
	done.Resources, err = cluster.ReleaseFinalizers(c.Context, client, done.Namespace, cluster.Options{
		Quiet: quiet,
		Progress: func(rs []cluster.Released) {
			var n uint64
			if n, shown.total = released(rs); n < shown.total {
				shown.at(n)
			}
		},
		Waiting: func() {
			shown.end()
			fmt.Fprintf(p.err, "watching for %s whether finalizers come back: %s\n", quiet, why)
		},
	})
	shown.end()
	if err := p.showUninstalled(format, done); err != nil {
		return err
	}
	switch {
	case c.Err() != nil:
		return errors.New("stopped before all finalizers were off; run it again to go on")
	case errors.Is(err, cluster.ErrPutBack):
		return fmt.Errorf("%w\nstop it, and run this again; in a cluster --scale-down NAME stops the Deployment of that name", err)
	}
	return err
}

// released sums up what is done: how many resources are released, of how many that had to be.
func released(rs []cluster.Released) (done, all uint64) {
	for _, r := range rs {
		done += uint64(r.Released)
		all += uint64(r.Released + r.Left)
	}
	return done, all
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
		rows = append(rows, []string{r.Resource, strconv.Itoa(r.Found), strconv.Itoa(r.Released), strconv.Itoa(r.Left), dash(note)})
	}
	return p.table("RESOURCE", "FOUND", "RELEASED", "LEFT", "NOTE").print(rows)
}
