package report

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Scenario is a test with what its comment says.
type Scenario struct {
	Number  int    // 7
	Test    string // "TestR07_…"
	File    string // "r07_two_holders_test.go"
	Fault   string
	Promise string
	Budget  string
	Found   string // "-": nothing
}

var numbered = regexp.MustCompile(`^TestR(\d\d)_`)

// Scenarios reads the scenarios in the test files of a directory, by number and name. One whose comment
// does not say all that it must is an error.
func Scenarios(dir string) ([]Scenario, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	var out []Scenario
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || !numbered.MatchString(fn.Name.Name) {
				continue
			}
			s, err := scenario(fn, filepath.Base(file))
			if err != nil {
				return nil, err
			}
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Scenario) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), strings.Compare(a.Test, b.Test))
	})
	return out, nil
}

// testFunction is the first line of a test.
var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)

// Tests returns the names of all tests in a directory.
func Tests(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, m := range testFunction.FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
	}
	return names, nil
}

func scenario(fn *ast.FuncDecl, file string) (Scenario, error) {
	number, err := strconv.Atoi(numbered.FindStringSubmatch(fn.Name.Name)[1])
	if err != nil {
		return Scenario{}, err
	}
	s := Scenario{Number: number, Test: fn.Name.Name, File: file}
	if prefix := fmt.Sprintf("r%02d_", number); !strings.HasPrefix(file, prefix) {
		return s, fmt.Errorf("%s is in %s, which does not begin with %s", s.Test, file, prefix)
	}
	parts := map[string]*string{"Fault:": &s.Fault, "Promise:": &s.Promise, "Budget:": &s.Budget, "Found:": &s.Found}
	var current *string
	for text := range strings.FieldsSeq(fn.Doc.Text()) {
		if part, ok := parts[text]; ok {
			current = part
		} else if current != nil {
			*current = strings.TrimSpace(*current + " " + text)
		}
	}
	for name, part := range parts {
		if *part == "" {
			return s, fmt.Errorf("the comment of %s in %s does not say %q", s.Test, file, name)
		}
	}
	return s, nil
}
