package main

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/urfave/cli/v2"

	"harmony.dev/services/reconciler/plan"
)

// options are the settings that only this service has.
type options struct {
	brake         plan.Brake
	incompleteFor time.Duration
}

// flags are refused as a usage error when they are out of range on the command line.
func flags() []cli.Flag {
	d := plan.DefaultBrake()
	return []cli.Flag{
		&cli.DurationFlag{
			Name: "brake-quiet", Value: d.Quiet, Action: within("brake-quiet", 0, noLimit),
			Usage: "doubtful deletes wait until the mirror has not changed for `DURATION`",
		},
		&cli.DurationFlag{
			Name: "brake-max-wait", Value: d.MaxWait, Action: within("brake-max-wait", 0, noLimit),
			Usage: "… but no longer than `DURATION`",
		},
		&cli.IntFlag{
			Name: "brake-percent", Value: d.Percent, Action: within("brake-percent", 0, 100),
			Usage: "doubtful deletes are held when they would take more than `PERCENT` of the keys",
		},
		&cli.IntFlag{
			Name: "brake-min", Value: d.Min, Action: within("brake-min", 1, math.MaxInt),
			Usage: "… and at least `KEYS`",
		},
		&cli.DurationFlag{
			Name: "brake-window", Value: d.Window, Action: within("brake-window", 1, markerTTL),
			Usage: "… within `DURATION`, at most 1h",
		},
		&cli.DurationFlag{
			Name: "incomplete-for", Value: 10 * time.Minute, Action: within("incomplete-for", 0, noLimit),
			Usage: "devices remove nothing for `DURATION` after a bucket was created anew",
		},
	}
}

// noLimit is the longest duration.
const noLimit = time.Duration(math.MaxInt64)

// markerTTL is how long delete markers, which the brake counts, stay in the bucket.
const markerTTL = time.Hour

// within returns a flag's action: it refuses a value that is less than least or more than most.
func within[T time.Duration | int](name string, least, most T) func(*cli.Context, T) error {
	return func(_ *cli.Context, v T) error {
		switch {
		case v < least:
			return fmt.Errorf("--%s %v is less than %v", name, v, least)
		case v > most:
			return fmt.Errorf("--%s %v is more than %v", name, v, most)
		}
		return nil
	}
}

// parseOptions also judges what came from the environment, which the flags' actions have not seen.
func parseOptions(c *cli.Context) (options, error) {
	for _, f := range flags() {
		if a, ok := f.(cli.ActionableFlag); ok {
			if err := a.RunAction(c); err != nil {
				return options{}, err
			}
		}
	}
	o := options{
		brake: plan.Brake{
			Quiet: c.Duration("brake-quiet"), MaxWait: c.Duration("brake-max-wait"), Window: c.Duration("brake-window"),
			Percent: c.Int("brake-percent"), Min: c.Int("brake-min"),
		},
		incompleteFor: c.Duration("incomplete-for"),
	}
	if o.brake.MaxWait < o.brake.Quiet {
		return options{}, errors.New("--brake-quiet must not be longer than --brake-max-wait")
	}
	return o, nil
}
