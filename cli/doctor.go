package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"

	"harmony.dev/cli/doctor"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/service"
)

var doctorText = `Asks every replica of the services how it is, reads every bucket to its end, and says of each thing that is wrong
where it is, why, and how it is mended: with a command to paste wherever there is one. It changes nothing itself.
The commands use nats and kubectl; one that removes an entry leaves a newer one under the same key alone.

The exit code is 0 when nothing was found, 1 when something was or when it could not look, 2 for a wrong command line.

As JSON or YAML:

  {"healthy": false,
   "findings": [{
     "kind":     one of ` + kindsText + `
     "what":     what is wrong
     "service", "instance", "bucket", "key", "revision", "device":  where; what does not apply is left out
     "why":      the cause
     "mend":     what mends it, in words
     "command":  what to paste into a shell; left out when words alone help}],
   "rest": [{"kind", "bucket", "count"}]  findings beyond --limit}

To run all commands that remove illegal keys:
  fleet doctor --limit 0 -o json | jq -r '.findings[] | select(.kind == "IllegalKey") | .command // empty' | bash`

// kindsText lists the kinds of findings, some to a line.
var kindsText = func() string {
	var b strings.Builder
	for i, k := range doctor.Kinds() {
		switch {
		case i == 0:
		case i%5 == 0:
			b.WriteString(",\n                 ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(k))
	}
	return b.String()
}()

func (p *program) doctorCommand() *cli.Command {
	return &cli.Command{
		Name:        "doctor",
		Usage:       "find what is wrong with the services and in the buckets, and say how to mend it",
		Description: doctorText,
		Flags: []cli.Flag{
			outputFlag(),
			&cli.DurationFlag{Name: "wait", Value: time.Second, Usage: "how long to gather the answers of the replicas"},
			&cli.DurationFlag{Name: "within", Value: time.Minute, Usage: "how long reading the buckets may take"},
			&cli.DurationFlag{Name: "grace", Value: time.Minute, Usage: "how old a key of an unknown device must be to be shown: a new device is registered in a moment"},
			&cli.DurationFlag{Name: "skew", Value: time.Minute, Usage: "how wrong the clock of a service or a device may be; 0: any"},
			&cli.IntFlag{Name: "limit", Value: 20, Usage: "how many findings of one kind to list for each bucket; 0: all"},
		},
		OnUsageError: wrongFlag,
		Action:       p.doctor,
	}
}

func (p *program) doctor(c *cli.Context) error {
	format, err := outputFormat(c)
	if err != nil {
		return err
	}
	switch {
	case c.NArg() > 0:
		return usagef("'fleet doctor' takes no argument, got %q", c.Args().First())
	case c.Duration("wait") <= 0 || c.Duration("within") <= 0:
		return usagef("--wait and --within must be positive")
	case c.Duration("grace") < 0 || c.Duration("skew") < 0 || c.Int("limit") < 0:
		return usagef("--grace, --skew and --limit must not be negative")
	}
	at, err := p.server(c)
	if err != nil {
		return err
	}
	refused := &refusals{}
	nc, err := p.connect(c, nats.ErrorHandler(refused.note))
	if err != nil {
		return err
	}
	defer nc.Close()
	e := &examination{
		p: p, nc: nc, refused: refused, within: c.Duration("within"),
		exam: doctor.NewExam(doctor.Shell{NATS: natsFlags(at)}, c.Duration("grace"), removal),
	}
	e.exam.Skew, e.exam.Version = c.Duration("skew"), service.BuildVersion()
	if err := e.run(c.Context, c.Duration("wait")); err != nil {
		return err
	}
	report := doctor.NewReport(e.exam.Found(), c.Int("limit"))
	if err := p.showReport(format, report); err != nil {
		return err
	}
	if !report.Healthy {
		return errQuiet
	}
	return nil
}

// removal is kv.RemoveRequest as the findings need it.
func removal(bucket, key string, revision uint64) (doctor.Request, error) {
	r, err := kv.RemoveRequest(bucket, key, revision)
	if err != nil {
		return doctor.Request{}, fmt.Errorf("remove %q: %w", key, err)
	}
	return request(r), nil
}

func request(r kv.Request) doctor.Request {
	out := doctor.Request{Subject: r.Subject, Body: r.Body}
	for _, f := range r.Header {
		out.Header = append(out.Header, f.Name+":"+f.Value)
	}
	return out
}
