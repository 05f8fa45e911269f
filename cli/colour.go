package main

import (
	"io"
	"os"
	"strings"

	"github.com/fatih/color"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// When colours are used.
const (
	colourAuto   = "auto"
	colourAlways = "always"
	colourNever  = "never"
)

func colourFlag() cli.Flag {
	return choose("color", "", "colour states (auto: on a terminal, unless $NO_COLOR is set):", colourAuto, colourAlways, colourNever)
}

// useColours decides whether what is printed to out has colours. NO_COLOR: https://no-color.org.
func useColours(when string, terminal bool, getenv func(string) string) bool {
	switch when {
	case colourAlways:
		return true
	case colourNever:
		return false
	}
	return terminal && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// isTerminal reports whether what is written there is seen by a person at once.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// tone is what a cell of a table says of how things are.
type tone int

// The tones.
const (
	neutral tone = iota
	good
	doubtful // not as wished yet, or not known
	bad      // somebody has to look
)

// words are cells that say how something is, in any column of states.
var words = map[string]tone{
	"true": good, "fresh": good, "ready": good, "running": good, "holds": good,
	"stale": doubtful, "pending": doubtful, "neverseen": doubtful, "unknown": doubtful, "deleting": doubtful, "<gone>": doubtful,
	"starting": doubtful, "replaying": doubtful, "converging": doubtful, "approved": doubtful,
	"noreport": doubtful, "hashdiffers": doubtful, "unconfirmed": doubtful, "applying": doubtful, "removing": doubtful, "quarantined": doubtful,
	"notregistered": doubtful, "devicedeleting": doubtful, "deploymentdeleting": doubtful,
	"poisonreport": bad, "deviceinvalid": bad, "invalid": bad,
	"false": bad, "failed": bad, "degraded": bad, "held": bad, "silent": bad, "nobody": bad,
}

// counts are columns of numbers of which any but 0 says something.
var counts = map[string]tone{"RUNNING": good, "FAILED": bad, "PENDING": doubtful, "STALE": doubtful, "SET ASIDE": bad, "HELD": bad, "LEFT": bad}

// toneOf returns the tone of a cell by its column. What has none there is neutral, whatever it says: a name may be "failed".
func toneOf(column, cell string) tone {
	switch column {
	case "READY", "STATE", "LEASE", "PHASE", "CLASS", "VERDICT":
		return words[strings.ToLower(cell)]
	case "SOURCES":
		if strings.Contains(cell, "(") { // some are being read
			return doubtful
		}
	case "QUARANTINED":
		if cell == "true" {
			return doubtful
		}
	case "REGISTERED":
		if cell == "false" {
			return doubtful
		}
	default:
		if t, ok := counts[column]; ok && cell != "0" && cell != "" && cell != "-" {
			return t
		}
	}
	return neutral
}

// paints are the colours of the tones.
var paints = map[tone]color.Attribute{good: color.FgGreen, doubtful: color.FgYellow, bad: color.FgRed}

// paint colours text.
func paint(t tone, text string) string {
	attribute, ok := paints[t]
	if !ok {
		return text
	}
	c := color.New(attribute)
	c.EnableColor() // the library would decide by the process's own output
	return c.Sprint(text)
}
