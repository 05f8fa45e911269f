package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// table prints rows in columns that never get narrower, so that rows printed later line up with those
// above them.
type table struct {
	out    io.Writer
	header []string
	widths []int
	headed bool
}

func newTable(out io.Writer, header ...string) *table {
	t := &table{out: out, header: header, widths: make([]int, len(header))}
	t.fit(header)
	return t
}

// print prints the rows, under the header the first time.
func (t *table) print(rows [][]string) error {
	for _, row := range rows {
		t.fit(row)
	}
	var b strings.Builder
	if !t.headed {
		t.line(&b, t.header)
		t.headed = true
	}
	for _, row := range rows {
		t.line(&b, row)
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

func (t *table) fit(row []string) {
	for i, cell := range row {
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
	}
}

func (t *table) line(b *strings.Builder, row []string) {
	var line strings.Builder
	for i, cell := range row {
		fmt.Fprintf(&line, "%-*s   ", t.widths[i], cell)
	}
	b.WriteString(strings.TrimRight(line.String(), " "))
	b.WriteByte('\n')
}
