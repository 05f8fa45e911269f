package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

func TestTable_ColumnsNeverGetNarrower(t *testing.T) {
	var out bytes.Buffer
	tbl := newTable(&out, "NAME", "N")
	for _, rows := range [][][]string{{{"a-long-name", "1"}}, {{"b", "22"}}} {
		if err := tbl.print(rows); err != nil {
			t.Fatal(err)
		}
	}
	want := "NAME          N\na-long-name   1\nb             22\n"
	if out.String() != want {
		t.Errorf("table printed\n%swant\n%s", out.String(), want)
	}
}

func TestTable_ColoursChangeNoAlignment(t *testing.T) {
	rows := [][]string{{"failed", "False", "0", "日本"}, {"web-north", "True", "12", ""}, {"x", "Unknown", "3", "é"}}
	print := func(coloured bool) string {
		var out bytes.Buffer
		tbl := newTable(&out, "NAME", "READY", "FAILED", "NOTE")
		tbl.coloured = coloured
		if err := tbl.print(rows); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	plain, coloured := print(false), print(true)
	if got := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(coloured, ""); got != plain {
		t.Errorf("without its colours it is\n%swant\n%s", got, plain)
	}
	for _, want := range []string{"\x1b[31mFalse\x1b[0m", "\x1b[32mTrue\x1b[0m", "\x1b[33mUnknown\x1b[0m", "\x1b[31m12\x1b[0m"} {
		if !strings.Contains(coloured, want) {
			t.Errorf("it has no %q:\n%q", want, coloured)
		}
	}
	if strings.Count(coloured, "\x1b[0m") != 5 {
		t.Errorf("names or zeros are coloured, too: %q", coloured)
	}
}

func TestToneOf(t *testing.T) {
	for _, c := range []struct {
		column, cell string
		want         tone
	}{
		{"STATE", "Fresh", good},
		{"STATE", "ready", good},
		{"STATE", "Stale", doubtful},
		{"STATE", "NeverSeen", doubtful},
		{"STATE", "degraded", bad},
		{"STATE", "held", bad},
		{"STATE", "silent", bad},
		{"STATE", "<gone>", doubtful},
		{"STATE", "else", neutral},
		{"LEASE", "holds", good},
		{"LEASE", "nobody", bad},
		{"LEASE", "standby of a", neutral},
		{"SOURCES", "5/5", neutral},
		{"SOURCES", "3/5 (device-state 40%)", doubtful},
		{"RUNNING", "3", good},
		{"RUNNING", "0", neutral},
		{"FAILED", "1", bad},
		{"PENDING", "1", doubtful},
		{"STALE", "1", doubtful},
		{"STALE", "-", neutral},
		{"NAME", "failed", neutral},
		{"LABELS", "state=ready", neutral},
		{"QUARANTINED", "true", doubtful},
		{"REGISTERED", "true", neutral},
	} {
		if got := toneOf(c.column, c.cell); got != c.want {
			t.Errorf("%s %q has tone %d, want %d", c.column, c.cell, got, c.want)
		}
	}
}

func TestUseColours(t *testing.T) {
	for _, c := range []struct {
		when     string
		terminal bool
		env      map[string]string
		want     bool
	}{
		{colourAuto, true, nil, true},
		{colourAuto, false, nil, false},
		{colourAuto, true, map[string]string{"NO_COLOR": "0"}, false},
		{colourAuto, true, map[string]string{"NO_COLOR": ""}, true},
		{colourAuto, true, map[string]string{"TERM": "dumb"}, false},
		{colourAlways, false, map[string]string{"NO_COLOR": "1"}, true},
		{colourNever, true, nil, false},
	} {
		if got := useColours(c.when, c.terminal, func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestPrintable_NothingThatMovesOtherText(t *testing.T) {
	for in, want := range map[string]string{"a\x1b[31mb": "a [31mb", "a\u202eb": "a b", "\u200bx": " x", "日本 é": "日本 é", "a\nb\tc": "a b c", "\u009b1m": " 1m"} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}
