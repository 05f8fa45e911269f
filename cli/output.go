package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
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
)

func outputFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "output", Aliases: []string{"o"}, Value: formatTable,
		Usage: "table, wide, json or yaml",
	}
}

func outputFormat(c *cli.Context) (string, error) {
	formats := []string{formatTable, formatWide, formatJSON, formatYAML}
	f := c.String("output")
	if f == "" {
		return "", usagef("--output needs a value: one of %s", strings.Join(formats, ", "))
	}
	if !slices.Contains(formats, f) {
		return "", usagef("unknown output %q: choose one of %s", f, strings.Join(formats, ", "))
	}
	return f, nil
}

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
