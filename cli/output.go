package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"
	"sigs.k8s.io/yaml"
)

// The output formats.
const (
	formatTable = "table"
	formatWide  = "wide"
	formatJSON  = "json"
	formatYAML  = "yaml"
	formatName  = "name" // one "deployment/web" a line, as kubectl has it; only where rows have names
)

// outputFlag takes the formats that every command has, and more of them.
func outputFlag(more ...string) cli.Flag {
	return choose("output", "o", "", append([]string{formatTable, formatWide, formatJSON, formatYAML}, more...)...)
}

func outputFormat(c *cli.Context) (string, error) { return chosen(c, "output") }

// encode writes v as JSON or YAML; both have the field names of the wire.
func encode(out io.Writer, format string, v any) error {
	if format == formatYAML {
		b, err := yaml.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode YAML: %w", err)
		}
		_, err = out.Write(b)
		return err
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// readable is the text of an error, for a terminal: what answers on the network may have written it, line by line.
func readable(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n")
}

// printable makes text from a device safe for a terminal: whatever is not printed, such as control characters and marks
// that turn the direction of what follows, becomes spaces.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
