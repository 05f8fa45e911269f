package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"harmony.dev/cli/doctor"
	"harmony.dev/fleet"
)

var update = flag.Bool("update", false, "write what docs/cli.md has of commands and flags")

const (
	manual         = "../docs/cli.md"
	generatedBegin = "<!-- Written by: go test ./cli -run TestManual -update -->\n"
	generatedEnd   = "<!-- End of what is written. -->\n"
)

func TestManual_HasEachCommandAndFlag(t *testing.T) {
	b, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), generatedBegin)
	written, tail, end := strings.Cut(rest, generatedEnd)
	if !ok || !end {
		t.Fatalf("%s has no %q … %q", manual, generatedBegin, generatedEnd)
	}
	want := commandsText()
	switch {
	case written == want:
	case *update:
		if err := os.WriteFile(manual, []byte(head+generatedBegin+want+generatedEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s does not have the commands and flags as they are: run go test ./cli -run TestManual -update", manual)
	}
}

// commandsText writes all commands and flags that people see.
func commandsText() string {
	p := &program{out: io.Discard, err: io.Discard}
	app := p.app()
	app.Setup()
	var b strings.Builder
	fmt.Fprintf(&b, "\n### fleet\n\nFlags of every command:\n\n%s", flagsText(app.VisibleFlags()))
	for _, c := range app.VisibleCommands() {
		writeCommand(&b, "fleet", c)
	}
	b.WriteByte('\n')
	return b.String()
}

func writeCommand(b *strings.Builder, of string, c *cli.Command) {
	if c.Name == "help" {
		return
	}
	name := of + " " + c.Name
	if len(c.Subcommands) == 0 {
		fmt.Fprintf(b, "\n### %s\n\n`%s`\n\n%s.\n", name, strings.TrimSpace(name+" "+c.ArgsUsage), capital(c.Usage))
	}
	if text := flagsText(c.VisibleFlags()); len(c.Subcommands) == 0 && text != "" {
		fmt.Fprintf(b, "\n%s", text)
	}
	for _, sub := range c.Subcommands {
		writeCommand(b, name, sub)
	}
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func flagsText(flags []cli.Flag) string {
	var b strings.Builder
	for _, f := range flags {
		if slices.Contains([]string{"help", "version"}, f.Names()[0]) {
			continue
		}
		var names []string
		for _, n := range f.Names() {
			names = append(names, "`"+strings.Repeat("-", min(2, len(n)))+n+"`")
		}
		d, _ := f.(cli.DocGenerationFlag)
		value := ""
		if v := d.GetValue(); v != "" && v != "0" && v != "0s" && v != "false" && v != "[]" {
			value = "`" + v + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.Join(names, ", "), strings.ReplaceAll(d.GetUsage(), "|", `\|`), value)
	}
	if b.Len() == 0 {
		return ""
	}
	return "| flag | is | default |\n|---|---|---|\n" + b.String()
}

// documented are the documents that the manual has tables of fields for.
var documented = map[string]reflect.Type{
	"deployment": reflect.TypeFor[fleet.DeploymentView](),
	"device":     reflect.TypeFor[fleet.DeviceView](),
	"status":     reflect.TypeFor[statusDocument](),
	"finding":    reflect.TypeFor[doctor.Report](),
	"hold":       reflect.TypeFor[holdView](),
	"forgotten":  reflect.TypeFor[forgottenDocument](),
	"backup":     reflect.TypeFor[manifest](),
	"restore":    reflect.TypeFor[restoration](),
	"uninstall":  reflect.TypeFor[uninstalled](),
}

func TestManual_HasEachFieldOfTheDocuments(t *testing.T) {
	b, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?s)<!-- fields: (\w+) -->\n(.*?)\n\n`).FindAllStringSubmatch(string(b), -1) {
		name, table := m[1], m[2]
		seen[name] = true
		if documented[name] == nil {
			t.Errorf("the manual has fields of %q, which is not known", name)
			continue
		}
		var have []string
		for _, row := range regexp.MustCompile("(?m)^\\| (`.*?) \\|").FindAllStringSubmatch(table, -1) {
			for _, field := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
				have = append(have, field[1])
			}
		}
		want := fields(documented[name], "")
		for _, f := range want {
			if !slices.Contains(have, f) {
				t.Errorf("of %s the manual lacks %s", name, f)
			}
		}
		for _, f := range have {
			if !slices.Contains(want, f) {
				t.Errorf("of %s the manual has %s, which there is not", name, f)
			}
		}
	}
	for name := range documented {
		if !seen[name] {
			t.Errorf("the manual has no fields of %s", name)
		}
	}
}

// leaves are types whose inside is told elsewhere.
var leaves = []reflect.Type{reflect.TypeFor[time.Time](), reflect.TypeFor[fleet.Selector]()}

// fields lists the names of a document's fields: "status.conditions[].type".
func fields(of reflect.Type, prefix string) []string {
	var out []string
	for f := range reflectFields(of) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			out = append(out, fields(f.Type, prefix)...)
			continue
		case !f.IsExported() || name == "" || name == "-":
			continue
		}
		inside, path := f.Type, prefix+name
		for inside.Kind() == reflect.Pointer || inside.Kind() == reflect.Slice {
			if inside.Kind() == reflect.Slice {
				path += "[]"
			}
			inside = inside.Elem()
		}
		if inside.Kind() == reflect.Struct && !slices.Contains(leaves, inside) {
			out = append(out, fields(inside, path+".")...)
			continue
		}
		out = append(out, strings.TrimSuffix(path, "[]"))
	}
	return out
}

func reflectFields(of reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range of.NumField() {
			if !yield(of.Field(i)) {
				return
			}
		}
	}
}
