package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"harmony.dev/fleet"
)

// page is text for a person: a head of named values, tables, and lists. What it is given may come from a device, and is
// made printable here, in one place.
type page struct {
	b      strings.Builder
	named  [][2]string // not written yet: they line up
	headed bool        // the last line is a heading
	tables []pageTable
}

// pageTable is a table in the text of a page.
type pageTable struct {
	at     int // where in the text
	header []string
	rows   [][]string
}

// field adds a named value; one with several lines takes as many.
func (p *page) field(name string, lines ...string) {
	if len(lines) == 0 {
		lines = []string{"-"}
	}
	for i, line := range lines {
		if i > 0 {
			name = ""
		}
		p.named = append(p.named, [2]string{name, printable(line)})
	}
}

// flush writes the named values that wait.
func (p *page) flush() {
	width := 0
	for _, f := range p.named {
		width = max(width, utf8.RuneCountInString(f[0]))
	}
	for _, f := range p.named {
		fmt.Fprintf(&p.b, "%s\n", strings.TrimRight(fmt.Sprintf("%-*s   %s", width, f[0], f[1]), " "))
	}
	p.named = nil
}

// heading begins a part.
func (p *page) heading(text string) {
	p.flush()
	if !p.empty() {
		p.b.WriteByte('\n')
	}
	p.line("%s", text)
	p.headed = true
}

// line adds a line.
func (p *page) line(format string, args ...any) {
	p.flush()
	p.headed = false
	p.b.WriteString(printable(fmt.Sprintf(format, args...)))
	p.b.WriteByte('\n')
}

// table adds rows under a header: below a heading, or after an empty line.
func (p *page) table(header []string, rows [][]string) {
	p.flush()
	if !p.empty() && !p.headed {
		p.b.WriteByte('\n')
	}
	p.headed = false
	for _, row := range rows {
		for i := range row {
			row[i] = printable(row[i])
		}
	}
	p.tables = append(p.tables, pageTable{p.b.Len(), header, rows})
}

func (p *page) empty() bool { return p.b.Len()+len(p.tables) == 0 }

// showPage writes a page to standard output, its tables coloured if that is wanted.
func (p *program) showPage(text *page) error { return text.writeTo(p.out, p.coloured) }

// writeTo writes the page.
func (p *page) writeTo(out io.Writer, coloured bool) error {
	p.flush()
	var b strings.Builder
	text, done := p.b.String(), 0
	for _, t := range p.tables {
		b.WriteString(text[done:t.at])
		done = t.at
		table := newTable(&b, t.header...)
		table.coloured = coloured
		_ = table.print(t.rows) // a builder takes everything
	}
	b.WriteString(text[done:])
	_, err := io.WriteString(out, b.String())
	return err
}

// freshness says as of when all that is shown holds, and loudly when it is not what it should be. Of several answers the
// oldest counts, and any that is not whole.
func (p *page) freshness(answers ...fleet.Freshness) {
	f := answers[0]
	for _, a := range answers[1:] {
		f = f.Join(a)
	}
	p.field("as of", f.AsOf.UTC().Format(timeFormat))
	if !f.Synced {
		p.field("WARNING", "the operator does not have everything in view, so this may be old: "+orUnsaid(f.Reason))
	}
}

const timeFormat = "2006-01-02T15:04:05Z"

func orUnsaid(reason string) string {
	if reason == "" {
		return "it does not say why"
	}
	return reason
}

// cellWidth is how much of a text of a device a table shows; wide shows all of it.
const cellWidth = 100

// clip cuts a text for a table.
func clip(text string, wide bool) string {
	if n := utf8.RuneCountInString(text); wide || n <= cellWidth {
		return text
	}
	return string([]rune(text)[:cellWidth-1]) + "…"
}

// shortHash is enough of a hash to tell two apart.
func shortHash(hash string, wide bool) string {
	switch {
	case hash == "":
		return "-"
	case wide || len(hash) <= 12:
		return hash
	}
	return hash[:12]
}

// examples names the first of some devices: "pi-1, pi-2 and 7 more".
func examples(devices []fleet.DeviceID, count, most int) string {
	var names []string
	for _, d := range devices[:min(len(devices), most)] {
		names = append(names, string(d))
	}
	switch more := count - len(names); {
	case len(names) == 0:
		return "-"
	case more > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), more)
	}
	return strings.Join(names, ", ")
}

// plural is "1 device", "2 devices".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
