package selector_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/selector"
)

func TestCompile(t *testing.T) {
	north := map[string]string{"region": "north", "arch": "arm64"}
	for name, tc := range map[string]struct {
		selector fleet.Selector
		labels   map[string]string
		want     bool
	}{
		"empty matches all":      {fleet.Selector{}, north, true},
		"empty matches no label": {fleet.Selector{}, nil, true},
		"equal":                  {fleet.Selector{MatchLabels: map[string]string{"region": "north"}}, north, true},
		"equal, other value":     {fleet.Selector{MatchLabels: map[string]string{"region": "south"}}, north, false},
		"equal to empty, absent": {fleet.Selector{MatchLabels: map[string]string{"zone": ""}}, north, false},
		"in":                     {expression("region", "In", "south", "north"), north, true},
		"not in":                 {expression("region", "NotIn", "north"), north, false},
		"not in, absent":         {expression("zone", "NotIn", "north"), north, true},
		"exists":                 {expression("region", "Exists"), north, true},
		"does not exist":         {expression("region", "DoesNotExist"), north, false},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := selector.Compile(tc.selector)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Matches(tc.labels); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestCompile_RefusesWithClearText(t *testing.T) {
	for name, tc := range map[string]struct {
		selector fleet.Selector
		want     []string
	}{
		"operator":        {expression("region", "Near", "north"), []string{"matchExpressions[0]", `"region"`, `"Near"`, "NotIn"}},
		"in without":      {expression("region", "In"), []string{"matchExpressions[0]", "can't be empty"}},
		"exists with":     {expression("region", "Exists", "x"), []string{"must be empty"}},
		"key":             {fleet.Selector{MatchLabels: map[string]string{"bad key": "x"}}, []string{"matchLabels", `"bad key"`}},
		"value":           {fleet.Selector{MatchLabels: map[string]string{"region": "bad value"}}, []string{"matchLabels", "bad value"}},
		"second of three": {fleet.Selector{MatchLabels: map[string]string{"a": "1", "b": "-", "c": "2"}}, []string{`"b"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := selector.Compile(tc.selector)
			if !errors.Is(err, fleet.ErrInvalid) {
				t.Fatalf("got %v, want an error that wraps fleet.ErrInvalid", err)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestMatcher_ZeroMatchesNothing(t *testing.T) {
	if (selector.Matcher{}).Matches(nil) {
		t.Error("the zero Matcher matches")
	}
}

func TestMatcher_AllocatesNothing(t *testing.T) {
	m := mustCompile(t, fleet.Selector{
		MatchLabels:      map[string]string{"region": "north"},
		MatchExpressions: []fleet.SelectorRequirement{{Key: "arch", Operator: "In", Values: []string{"arm64", "amd64"}}},
	})
	set := map[string]string{"region": "north", "arch": "arm64"}
	if n := testing.AllocsPerRun(100, func() { m.Matches(set) }); n != 0 {
		t.Errorf("Matches allocates %v times", n)
	}
}

func TestCompile_EqualsApimachinery(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := selectors().Draw(t, "selector")
		want, wantErr := metav1.LabelSelectorAsSelector(upstream(s))
		got, err := selector.Compile(s)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("got error %v, apimachinery says %v", err, wantErr)
		}
		if err != nil {
			return
		}
		for range 5 {
			set := labelSets().Draw(t, "labels")
			if got.Matches(set) != want.Matches(labels.Set(set)) {
				t.Fatalf("got %v for %v, apimachinery says otherwise", got.Matches(set), set)
			}
		}
	})
}

func TestIndex_FindsEveryMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		index, all := selector.NewIndex[int](), map[int]selector.Matcher{}
		for range rapid.IntRange(0, 30).Draw(t, "operations") {
			name := rapid.IntRange(0, 8).Draw(t, "name")
			if rapid.Bool().Draw(t, "remove") {
				index.Remove(name)
				delete(all, name)
				continue
			}
			m, err := selector.Compile(selectors().Draw(t, "selector"))
			if err != nil {
				continue
			}
			index.Set(name, m)
			all[name] = m
		}
		set := labelSets().Draw(t, "labels")
		found := slices.Collect(index.Candidates(set))
		seen := map[int]bool{}
		for _, name := range found {
			if _, known := all[name]; !known || seen[name] {
				t.Fatalf("%d is removed or yielded twice: %v", name, found)
			}
			seen[name] = true
		}
		for name, m := range all {
			if m.Matches(set) && !seen[name] {
				t.Fatalf("%d matches %v and is no candidate", name, set)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	transport := fleettest.Transport(b, make([]byte, 290))
	for _, size := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("devices=%d", size), func(b *testing.B) {
			m := mustCompile(b, fleet.Selector{MatchLabels: map[string]string{"region": "r3", "arch": "arm64"}})
			sets := make([]map[string]string, size)
			for i := range sets {
				sets[i] = map[string]string{"region": fmt.Sprintf("r%d", i%8), "arch": []string{"arm64", "amd64"}[i%2], "site": fmt.Sprint(i)}
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, set := range sets {
					m.Matches(set)
				}
			}
			fleettest.ReportPerTransport(b, transport, size)
		})
	}
}

// BenchmarkIndex compares asking the index with asking every matcher, for one device.
func BenchmarkIndex(b *testing.B) {
	for _, size := range []int{1_000, 10_000} {
		index, all := selector.NewIndex[int](), make([]selector.Matcher, size)
		for i := range all {
			all[i] = mustCompile(b, fleet.Selector{MatchLabels: map[string]string{"site": fmt.Sprint(i)}})
			index.Set(i, all[i])
		}
		set := map[string]string{"region": "r1", "arch": "arm64", "site": "17"}
		b.Run(fmt.Sprintf("deployments=%d/index", size), func(b *testing.B) {
			for b.Loop() {
				for i := range index.Candidates(set) {
					all[i].Matches(set)
				}
			}
		})
		b.Run(fmt.Sprintf("deployments=%d/all", size), func(b *testing.B) {
			for b.Loop() {
				for _, m := range all {
					m.Matches(set)
				}
			}
		})
	}
}

func expression(key, operator string, values ...string) fleet.Selector {
	return fleet.Selector{MatchExpressions: []fleet.SelectorRequirement{{Key: key, Operator: operator, Values: values}}}
}

func mustCompile(t testing.TB, s fleet.Selector) selector.Matcher {
	t.Helper()
	m, err := selector.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func upstream(s fleet.Selector) *metav1.LabelSelector {
	u := &metav1.LabelSelector{MatchLabels: s.MatchLabels}
	for _, e := range s.MatchExpressions {
		u.MatchExpressions = append(u.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: e.Key, Operator: metav1.LabelSelectorOperator(e.Operator), Values: e.Values,
		})
	}
	return u
}

// The generators draw from few words, so that selectors and labels meet, some of them illegal.
func keys() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"a", "b", "c", "example.com/a", "", "bad key", "/x"})
}

func values() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"x", "y", "z", "", "10", "bad value", "-"})
}

func labelSets() *rapid.Generator[map[string]string] {
	return rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "example.com/a"}), rapid.SampledFrom([]string{"x", "y", "z", "", "10"}), 0, 4)
}

func selectors() *rapid.Generator[fleet.Selector] {
	return rapid.Custom(func(t *rapid.T) fleet.Selector {
		s := fleet.Selector{MatchLabels: rapid.MapOfN(keys(), values(), 0, 2).Draw(t, "matchLabels")}
		for range rapid.IntRange(0, 3).Draw(t, "expressions") {
			s.MatchExpressions = append(s.MatchExpressions, fleet.SelectorRequirement{
				Key:      keys().Draw(t, "key"),
				Operator: rapid.SampledFrom([]string{"In", "NotIn", "Exists", "DoesNotExist", "Gt", "in", ""}).Draw(t, "operator"),
				Values:   rapid.SliceOfN(values(), 0, 3).Draw(t, "values"),
			})
		}
		return s
	})
}
