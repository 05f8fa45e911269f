package main

import (
	"io"
	"strings"

	"github.com/rivo/uniseg"
)

// table prints rows in columns that never get narrower, so that rows printed later line up with those
// above them.
type table struct {
	out      io.Writer
	header   []string
	widths   []int
	headed   bool
	coloured bool
}

func newTable(out io.Writer, header ...string) *table {
	t := &table{out: out, header: header, widths: make([]int, len(header))}
	t.fit(header)
	return t
}

// table returns one on standard output, coloured if that is wanted.
func (p *program) table(header ...string) *table {
	t := newTable(p.out, header...)
	t.coloured = p.coloured
	return t
}

// print prints the rows, under the header the first time.
func (t *table) print(rows [][]string) error {
	for _, row := range rows {
		t.fit(row)
	}
	var b strings.Builder
	if !t.headed {
		t.line(&b, t.header, false)
		t.headed = true
	}
	for _, row := range rows {
		t.line(&b, row, t.coloured)
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

func (t *table) fit(row []string) {
	for i, cell := range row {
		t.widths[i] = max(t.widths[i], uniseg.StringWidth(cell))
	}
}

// gap is between two columns.
const gap = "   "

// line writes one row. Nothing follows the last cell that is not empty. Colours have no width on a terminal, and count for
// none here.
func (t *table) line(b *strings.Builder, row []string, coloured bool) {
	last := len(row) - 1
	for last >= 0 && row[last] == "" {
		last--
	}
	for i, cell := range row[:last+1] {
		text := cell
		if coloured {
			text = paint(toneOf(t.header[i], cell), cell)
		}
		b.WriteString(text)
		if i < last {
			b.WriteString(strings.Repeat(" ", t.widths[i]-uniseg.StringWidth(cell)))
			b.WriteString(gap)
		}
	}
	b.WriteByte('\n')
}
