package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"

	"harmony.dev/cli/wish"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// errWouldChange ends with exit code 3, for those who asked for it.
var errWouldChange = errors.New("something would change")

const planText = `With -f: what would come of applying these Deployments, each by itself, before anything is applied. Which devices it gains
and loses, which keys of desired-state are put and deleted, and what the brake says to the deletes. The files may hold
several YAML or JSON documents, and other kinds, which are named and left aside; fields that are not of a Deployment are
errors, as they are for the API. A document that names another namespace than that of the fleet is left aside.

Without -f: what the reconciler would write now, for all Deployments or for one.

It never writes anything. Mind that the brake guards against lost truth, not against a wish: deletes that an edited selector
causes pass at once. A plan that takes a Deployment from more than a fifth of its devices says so with a WARNING.

The exit code is 0 when the plan is there, 1 when it is not or when a Deployment cannot be applied, 2 for a wrong command
line. With --exit-code it is 3 when something would change: with -f a Deployment that is new or changed, without -f a key
to be put or deleted.

As JSON or YAML without -f: the answer of the reconciler as it is. With -f:

  {"items": [{
     "file", "line":   where
     "deployment":     its name
     "state":          new, changed, unchanged, deleting (it is, whatever is applied) or invalid
     "error":          why it is invalid
     "warning":        what to look at twice
     "plan":           the answer of the reconciler: asOf, synced, putCount, deleteCount, heldCount, waitCount, puts,
                       deletes, gainedCount, lostCount, gained, lost, keyCount (of the Deployment now), hold}],
   "leftAside": [{"file", "line", "apiVersion", "kind", "name", "why"}]}`

func (p *program) planCommand() *cli.Command {
	return &cli.Command{
		Name:        "plan",
		Usage:       "show what applying deployments would change, without changing anything",
		ArgsUsage:   "-f FILE… | [DEPLOYMENT]",
		Description: planText,
		Flags: []cli.Flag{
			outputFlag(),
			&cli.StringSliceFlag{Name: "filename", Aliases: []string{"f"}, Usage: "a `FILE` of Deployments, a folder of .yaml, .yml and .json files, or - for standard input; may be repeated"},
			&cli.BoolFlag{Name: "exit-code", Usage: "exit with 3 when something would change"},
		},
		OnUsageError: wrongFlag,
		Action:       p.plan,
	}
}

func (p *program) plan(c *cli.Context) error {
	format, err := outputFormat(c)
	if err != nil {
		return err
	}
	files := c.StringSlice("filename")
	switch {
	case slices.Contains(files, ""):
		return usagef("--filename needs a value: a file, a folder, or - for standard input")
	case len(files) > 0 && c.NArg() > 0:
		return usagef("'fleet plan' takes files or one deployment, not both: got %q too", c.Args().First())
	case c.NArg() > 1:
		return usagef("'fleet plan' takes one deployment, got %q too", c.Args().Get(1))
	case len(files) > 0:
		return p.planFiles(c, format, files)
	}
	nc, err := p.connect(c)
	if err != nil {
		return err
	}
	defer nc.Close()
	name := fleet.DeploymentName(c.Args().First())
	got, err := planOf(c, nc, fleet.PlanShowRequest{Deployment: name})
	if err != nil {
		return err
	}
	if format == formatJSON || format == formatYAML {
		err = encode(p.out, format, got)
	} else {
		err = p.showPage(presentPage(name, got, format == formatWide))
	}
	if err == nil && c.Bool("exit-code") && got.PutCount+got.DeleteCount > 0 {
		return errWouldChange
	}
	return err
}

func planOf(c *cli.Context, nc *nats.Conn, req fleet.PlanShowRequest) (fleet.PlanShowResponse, error) {
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	return rpc.Call[fleet.PlanShowRequest, fleet.PlanShowResponse](ctx, nc, fleet.PlanShow, req)
}

// planFiles plans each Deployment of some files.
func (p *program) planFiles(c *cli.Context, format string, files []string) error {
	docs, err := readWishes(files, p.person.in)
	if err != nil {
		return err
	}
	nc, err := p.connect(c)
	if err != nil {
		return err
	}
	defer nc.Close()
	own := ""
	if slices.ContainsFunc(docs, func(d wish.Document) bool { return d.Namespace != "" }) {
		if own, err = ownNamespace(c, nc); err != nil {
			return err
		}
	}
	preview, err := sortWishes(docs, own)
	if err != nil {
		return err
	}
	for _, a := range preview.LeftAside {
		fmt.Fprintf(p.err, "fleet: %s\n", printable(a.text()))
	}
	if len(preview.Items) == 0 {
		return fmt.Errorf("there is nothing to plan: no %s %s in what was read", wish.APIVersion, fleet.KindDeployment)
	}
	for i := range preview.Items {
		if err := preview.Items[i].ask(c, nc); err != nil {
			return err
		}
	}
	if format == formatJSON || format == formatYAML {
		err = encode(p.out, format, preview)
	} else {
		err = p.showPage(previewPage(preview, format == formatWide))
	}
	switch {
	case err != nil:
		return err
	case preview.count(stateInvalid) > 0:
		return errQuiet
	case c.Bool("exit-code") && preview.changes():
		return errWouldChange
	}
	return nil
}

// ownNamespace asks which namespace the fleet is.
func ownNamespace(c *cli.Context, nc *nats.Conn) (string, error) {
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	h, err := rpc.Call[struct{}, fleet.Health](ctx, nc, fleet.HealthEndpoint(fleet.ServiceReconciler), struct{}{})
	return h.Fleet, err
}

// ask gets the plan of one Deployment.
func (w *previewItem) ask(c *cli.Context, nc *nats.Conn) error {
	if w.candidate == nil {
		return nil
	}
	got, err := planOf(c, nc, fleet.PlanShowRequest{Deployment: w.Deployment, Candidate: w.candidate})
	switch {
	case fleet.CodeOf(err) == fleet.CodeInvalid:
		w.refuse(err)
	case err != nil:
		return err
	default:
		w.accept(got)
	}
	return nil
}

// readWishes reads files, the files of folders, and standard input for "-".
func readWishes(paths []string, stdin io.Reader) ([]wish.Document, error) {
	var docs []wish.Document
	for _, path := range paths {
		files, err := filesOf(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := readText(file, stdin)
			if err != nil {
				return nil, err
			}
			more, err := wish.Read(shownFile(file), text)
			if err != nil {
				return nil, err
			}
			docs = append(docs, more...)
		}
	}
	return docs, nil
}

// filesOf is a file, or those of a folder that kubectl would read.
func filesOf(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read deployments: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read deployments: %w", err)
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, ext) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("read deployments: %s has no .yaml, .yml or .json file", path)
	}
	return files, nil
}

func readText(file string, stdin io.Reader) ([]byte, error) {
	if file != "-" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read deployments: %w", err)
		}
		return text, nil
	}
	text, err := io.ReadAll(stdin)
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	return text, nil
}

func shownFile(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}
