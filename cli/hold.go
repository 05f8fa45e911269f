package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

const holdHelp = `Deletes that look like lost truth rather than like somebody's wish (resources that vanished, labels that changed on most of the
fleet at once) are held until a person approves them, or the resources return. There is one hold at a time.`

func (p *program) holdCommand() *cli.Command {
	return &cli.Command{
		Name:            "hold",
		Usage:           "look at the deletes that the brake holds back, and approve them",
		Description:     holdHelp,
		HideHelpCommand: true,
		OnUsageError:    wrongFlag,
		Action:          group,
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list what is held", Description: holdHelp,
				Flags: []cli.Flag{outputFlag(formatName)}, OnUsageError: wrongFlag, Action: p.holdList,
			},
			{
				Name: "show", Usage: "show which keys are held back, and why", ArgsUsage: "[ID]",
				Description: "Without an ID it shows the present hold. The first " + strconv.Itoa(fleet.MaxLimit) + " keys are listed, all are counted.",
				Flags:       []cli.Flag{outputFlag()}, OnUsageError: wrongFlag, Action: p.holdShow,
			},
			{
				Name: "approve", Usage: "say that the deletes of a hold are meant: they are carried out", ArgsUsage: "ID",
				Description: "Only what the hold has counted passes; what is caused later is held anew. To have nothing deleted, bring the resources back instead.",
				Flags:       []cli.Flag{yesFlag(), outputFlag(formatName)}, OnUsageError: wrongFlag, Action: p.holdApprove,
			},
		},
	}
}

// holdView is a hold with what it keeps back.
type holdView struct {
	Hold      fleet.Hold         `json:"hold"`
	HeldCount int                `json:"heldCount"` // of all keys
	WaitCount int                `json:"waitCount"` // doubtful deletes that wait for the mirror to be quiet, beside them
	Held      []fleet.PlanDelete `json:"held"`      // the first of them
}

// askHold asks for the present hold, nil when nothing is held.
func askHold(c *cli.Context, nc *nats.Conn) (*holdView, error) {
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	plan, err := rpc.CallRetry[fleet.PlanShowRequest, fleet.PlanShowResponse](ctx, nc, fleet.PlanShow, fleet.PlanShowRequest{})
	if err != nil || plan.Hold == nil {
		return nil, err
	}
	v := &holdView{Hold: *plan.Hold, HeldCount: plan.HeldCount, WaitCount: plan.WaitCount, Held: []fleet.PlanDelete{}}
	for _, d := range plan.Deletes {
		if d.Held {
			v.Held = append(v.Held, d)
		}
	}
	return v, nil
}

// withHold runs a command that is about the present hold.
func (p *program) withHold(c *cli.Context, f func(nc *nats.Conn, format string, v *holdView) error) error {
	format, err := outputFormat(c)
	if err != nil {
		return err
	}
	nc, err := p.connect(c)
	if err != nil {
		return err
	}
	defer nc.Close()
	v, err := askHold(c, nc)
	if err != nil {
		return err
	}
	return f(nc, format, v)
}

func (p *program) holdList(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef("'fleet hold list' takes no argument, got %q", c.Args().First())
	}
	return p.withHold(c, func(_ *nats.Conn, format string, v *holdView) error {
		var all []item
		if v != nil {
			all = append(all, holdItem(v.Hold))
		}
		return p.show(format, holdListing(), "", all)
	})
}

func holdListing() listing {
	return listing{kind: "hold", header: []string{"ID", "STATE", "DELETES", "KEYS", "UP TO"}, narrow: 4}
}

func holdItem(h fleet.Hold) item {
	state := "held"
	if h.Approved {
		state = "approved"
	}
	return item{name: printable(h.ID), value: h, row: []string{
		printable(h.ID), state, strconv.Itoa(h.Deletes), strconv.Itoa(h.Keys), strconv.FormatUint(h.UpTo, 10),
	}}
}

func (p *program) holdShow(c *cli.Context) error {
	if c.NArg() > 1 {
		return usagef("'fleet hold show' takes one ID, got %q too", c.Args().Get(1))
	}
	return p.withHold(c, func(_ *nats.Conn, format string, v *holdView) error {
		if err := current(v, c.Args().First()); err != nil {
			return err
		}
		return p.showHold(format, *v)
	})
}

// current returns an error unless a hold is there, and has the id, if one is given.
func current(v *holdView, id string) error {
	switch {
	case v == nil && id == "":
		return fmt.Errorf("nothing is held")
	case v == nil:
		return fmt.Errorf("nothing is held: hold %q was approved and carried out, or the resources have returned", id)
	case id != "" && v.Hold.ID != id:
		return fmt.Errorf("%q is not the present hold, %s is: look at that one first ('fleet hold show')", id, printable(v.Hold.ID))
	}
	return nil
}

func (p *program) showHold(format string, v holdView) error {
	if format == formatJSON || format == formatYAML {
		return encode(p.out, format, v)
	}
	var rows [][]string
	for _, d := range v.Held {
		rows = append(rows, append(pairCells(d.Key), string(d.Cause)))
	}
	if err := p.table("DEVICE", "DEPLOYMENT", "CAUSE").print(rows); err != nil {
		return err
	}
	fmt.Fprintf(p.err, "hold %s: %s%s\n", printable(v.Hold.ID), v.summary(), more(v.HeldCount-len(v.Held)))
	if v.Hold.Approved {
		fmt.Fprintln(p.err, "it is approved: the deletes are being carried out")
		return nil
	}
	fmt.Fprintf(p.err, "if they are meant: fleet hold approve %s; if not, bring the resources back, and nothing is deleted\n", shellWord(v.Hold.ID))
	return nil
}

func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf("; %d more are not listed", n)
}

func pairCells(key string) []string {
	pair, err := fleet.ParseDesiredKey(key)
	if err != nil {
		return []string{printable(key), "-"}
	}
	return []string{string(pair.Device), string(pair.Deployment)}
}

// summary says what is kept back: "12 deletes of 24 keys: web (12 vanished)".
func (v holdView) summary() string {
	text := fmt.Sprintf("%d deletes of %d keys", v.Hold.Deletes, v.Hold.Keys)
	if len(v.Held) == 0 {
		return text
	}
	counts := map[string]int{}
	var order []string
	for _, d := range v.Held {
		of := pairCells(d.Key)[1] + " " + string(d.Cause)
		if counts[of] == 0 {
			order = append(order, of)
		}
		counts[of]++
	}
	slices.SortFunc(order, func(a, b string) int { return counts[b] - counts[a] })
	const named = 5
	parts := []string{}
	for _, of := range order[:min(named, len(order))] {
		deployment, cause, _ := strings.Cut(of, " ")
		parts = append(parts, fmt.Sprintf("%s (%d %s)", deployment, counts[of], cause))
	}
	if len(order) > named {
		parts = append(parts, "…")
	}
	return text + ": " + strings.Join(parts, ", ")
}

func (p *program) holdApprove(c *cli.Context) error {
	id := c.Args().First()
	switch {
	case c.NArg() == 0:
		return usagef("say which hold: 'fleet hold approve ID'; 'fleet hold list' shows it")
	case c.NArg() > 1:
		return usagef("'fleet hold approve' takes one ID, got %q too", c.Args().Get(1))
	case id == "":
		return usagef("the ID is empty")
	}
	return p.withHold(c, func(nc *nats.Conn, format string, v *holdView) error {
		if err := current(v, id); err != nil {
			return err
		}
		if v.Hold.Approved {
			fmt.Fprintf(p.err, "hold %s was approved before\n", printable(id))
			return p.showApproved(format, v.Hold)
		}
		if err := p.confirm(c, fmt.Sprintf("Approve hold %s: %s. The devices stop what is deleted.", printable(id), v.summary())); err != nil {
			return err
		}
		return p.approve(c, nc, format, id)
	})
}

func (p *program) approve(c *cli.Context, nc *nats.Conn, format, id string) error {
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	got, err := rpc.CallRetry[fleet.HoldApproveRequest, fleet.HoldApproveResponse](ctx, nc, fleet.HoldApprove, fleet.HoldApproveRequest{ID: id})
	if err != nil {
		return notApproved(id, err)
	}
	return p.showApproved(format, got.Hold)
}

// reasonNotHeld is what the reconciler says when there is no hold at all.
const reasonNotHeld = "NotHeld"

// notApproved says what is known of a hold whose approval returned an error. One that was approved, with the answer lost, and
// carried out is there no more when it is approved again.
func notApproved(id string, err error) error {
	id = printable(id)
	e, _ := errors.AsType[*fleet.Error](err)
	switch code := fleet.CodeOf(err); {
	case e != nil && e.Reason == reasonNotHeld:
		return fmt.Errorf("nothing is held any more: hold %s was approved and carried out, or the resources have returned: %w", id, err)
	case code == fleet.CodeConflict && rpc.MayBeDone(err):
		return fmt.Errorf("hold %s is there no more: it was approved and carried out, or the resources have returned: %w; another one is held now: look at it with 'fleet hold show'", id, err)
	case code == fleet.CodeConflict:
		return fmt.Errorf("hold %s was not approved: %w; what is held has changed since: look again with 'fleet hold show'", id, err)
	case rpc.MayBeDone(err):
		return fmt.Errorf("it is not known whether hold %s was approved: %w; look with 'fleet hold list': it is there no more once it is carried out, and approving it again is safe", id, err)
	case code == fleet.CodeUnavailable || code == fleet.CodeBusy:
		return fmt.Errorf("hold %s was not approved: %w; nothing was done: try again", id, err)
	}
	return fmt.Errorf("approve hold %s: %w", id, err)
}

func (p *program) showApproved(format string, h fleet.Hold) error {
	switch format {
	case formatJSON, formatYAML:
		return encode(p.out, format, h)
	case formatName:
		return p.showNames(holdListing(), []item{holdItem(h)})
	}
	_, err := fmt.Fprintf(p.out, "hold %s approved: %d deletes are carried out\n", printable(h.ID), h.Deletes)
	return err
}
