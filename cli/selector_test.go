package main

import (
	"testing"

	"harmony.dev/fleet"
	"harmony.dev/fleet/selector"
)

func TestParseSelector_AndBack(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"region=north", "region in (north)"},
		{"region==north,arch!=arm64", "arch notin (arm64),region in (north)"},
		{"arch in (b,a)", "arch in (a,b)"},
		{"gpu,!legacy", "gpu,!legacy"},
		{"", "<every device>"},
	} {
		s, err := parseSelector(c.in)
		if err != nil {
			t.Errorf("parseSelector(%q): %v", c.in, err)
			continue
		}
		if got := selectorText(s); got != c.want {
			t.Errorf("parseSelector(%q) reads %q, want %q", c.in, got, c.want)
		}
	}
	for _, in := range []string{"region in (", "a>1", "=x", "a=b=c"} {
		if s, err := parseSelector(in); err == nil {
			t.Errorf("parseSelector(%q) = %+v, want an error", in, s)
		}
	}
}

func TestSelectorText_LabelsFirst(t *testing.T) {
	s := fleet.Selector{
		MatchLabels:      map[string]string{"b": "2", "a": "1"},
		MatchExpressions: []fleet.SelectorRequirement{{Key: "c", Operator: "Exists"}},
	}
	if got, want := selectorText(s), "a=1,b=2,c"; got != want {
		t.Errorf("selectorText = %q, want %q", got, want)
	}
}

// FuzzParseSelector feeds what a person may type: what is accepted can be applied.
func FuzzParseSelector(f *testing.F) {
	for _, s := range []string{"region=north", "a in (b,c),!d", "a!=b", "a>1", ",", "a in (", "x/y=z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSelector(text)
		if err != nil {
			return
		}
		if _, err := selector.Compile(s); err != nil {
			t.Fatalf("%q is accepted as %+v: %v", text, s, err)
		}
	})
}
