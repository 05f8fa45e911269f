package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestProgress_LinesOnceASecondWithoutATerminal(t *testing.T) {
	var out bytes.Buffer
	p := &program{err: &out}
	g := p.progress("device-state", "messages", 100)
	g.at(1)
	if out.Len() > 0 {
		t.Errorf("it speaks at once: %q", out.String())
	}
	g.said = time.Now().Add(-2 * patience)
	g.at(7)
	g.at(8)
	g.said, g.total = time.Now().Add(-2*patience), 0
	g.at(9)
	g.end()
	if got := out.String(); got != "device-state: 7 of 100 messages\ndevice-state: 9 messages\n" {
		t.Errorf("printed %q", got)
	}
}

func TestProgress_ABarOnATerminalThatGoes(t *testing.T) {
	for name, total := range map[string]uint64{"a known total": 100, "none": 0} {
		var out bytes.Buffer
		g := &progress{out: &out, terminal: true, label: "device-state", unit: "messages", total: total, said: time.Now().Add(-2 * patience)}
		for _, n := range []uint64{40, 100, 250} { // a total is a guess
			g.at(n)
		}
		if got := out.String(); !strings.Contains(got, "device-state") || strings.Contains(got, "\n") {
			t.Errorf("%s: printed %q", name, got)
		}
		g.end()
		if got := out.String(); !strings.HasSuffix(got, "\r") {
			t.Errorf("%s: the bar is left: %q", name, got)
		}
	}
}
