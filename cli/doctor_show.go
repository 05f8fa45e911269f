package main

import (
	"fmt"
	"strconv"
	"strings"

	"harmony.dev/cli/doctor"
)

// keyWidth is how much of a key the table shows; the command below it has all of it.
const keyWidth = 60

func (p *program) showReport(format string, r doctor.Report) error {
	if format == formatJSON || format == formatYAML {
		return encode(p.out, format, r)
	}
	if r.Healthy {
		_, err := fmt.Fprintln(p.out, "nothing is wrong")
		return err
	}
	header := []string{"N", "KIND", "WHERE", "KEY", "WHY"}
	if format == formatWide {
		header = []string{"N", "KIND", "WHERE", "KEY", "REVISION", "DEVICE", "WHY"}
	}
	var rows [][]string
	var notes strings.Builder
	for i, f := range r.Findings {
		rows = append(rows, findingRow(i+1, f, format == formatWide))
		note(&notes, i+1, f)
	}
	for _, rest := range r.Rest {
		fmt.Fprintf(&notes, "\nand %d more: %s in %s: --limit 0 lists all\n", rest.Count, rest.Kind, rest.Bucket)
	}
	if err := p.table(header...).print(rows); err != nil {
		return err
	}
	_, err := fmt.Fprint(p.out, notes.String())
	return err
}

func findingRow(n int, f doctor.Finding, wide bool) []string {
	where := f.Bucket
	if where == "" {
		where = f.Service
	}
	if f.Instance != "" {
		where = f.Instance
	}
	key := "-"
	if f.Key != "" {
		key = fmt.Sprintf("%.*s", keyWidth, printable(f.Key))
	}
	row := []string{strconv.Itoa(n), string(f.Kind), printable(dash(where)), key}
	if wide {
		revision := "-"
		if f.Revision > 0 {
			revision = strconv.FormatUint(f.Revision, 10)
		}
		row = append(row, revision, dash(f.Device))
	}
	return append(row, printable(f.Why))
}

func note(b *strings.Builder, n int, f doctor.Finding) {
	fmt.Fprintf(b, "\n%d: %s\n   %s\n", n, printable(f.What), printable(f.Mend))
	if f.Command != "" {
		fmt.Fprintf(b, "   %s\n", printable(f.Command)) // has none but printable characters: nothing is replaced
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
