package main

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/schollz/progressbar/v3"
)

// patience is how long something may take before its progress is shown, and how often lines say it.
const patience = time.Second

// progress shows on standard error how far something is that takes longer than a second: as a bar on a terminal, which goes
// when it is done, else as a line once a second while it moves, and once in ten when it does not.
type progress struct {
	out         io.Writer
	terminal    bool
	label, unit string
	total       uint64 // 0: not known
	said        time.Time
	told        uint64                   // what the last line said was done
	bar         *progressbar.ProgressBar // nil: none is shown
}

// progress begins to count. Of a total of 0 nothing is said.
func (p *program) progress(label, unit string, total uint64) *progress {
	return &progress{out: p.err, terminal: isTerminal(p.err), label: label, unit: unit, total: total, said: time.Now()}
}

// at says how much is done.
func (g *progress) at(done uint64) {
	switch {
	case g.bar != nil:
		g.advance(done)
	case time.Since(g.said) < patience:
	case g.terminal:
		g.bar = g.newBar()
		g.advance(done)
	case done == g.told && time.Since(g.said) < 10*patience:
	default:
		g.said, g.told = time.Now(), done
		fmt.Fprintf(g.out, "%s: %s\n", g.label, g.text(done))
	}
}

// end takes the bar away.
func (g *progress) end() {
	if g.bar != nil {
		_ = g.bar.Exit() // what cannot be drawn stops nothing
		_ = g.bar.Clear()
		g.bar = nil
	}
}

func (g *progress) text(done uint64) string {
	if g.total == 0 {
		return fmt.Sprintf("%d %s", done, g.unit)
	}
	return fmt.Sprintf("%d of %d %s", done, max(done, g.total), g.unit)
}

func (g *progress) newBar() *progressbar.ProgressBar {
	total := int64(-1) // a spinner
	if g.total > 0 && g.total < math.MaxInt64 {
		total = int64(g.total)
	}
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(g.out), progressbar.OptionSetDescription(g.label), progressbar.OptionShowCount(),
		progressbar.OptionSetItsString(g.unit), progressbar.OptionShowIts(), progressbar.OptionFullWidth(),
		progressbar.OptionSetSpinnerChangeInterval(0), // it would move by itself, in a goroutine that outlives it
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(false),
	)
}

// advance draws. A total is a guess: what goes beyond it does not end the bar.
func (g *progress) advance(done uint64) {
	if g.total > 0 {
		done = min(done, g.total-min(g.total, 1))
	}
	_ = g.bar.Set64(int64(min(done, math.MaxInt64))) // what cannot be drawn stops nothing
}
