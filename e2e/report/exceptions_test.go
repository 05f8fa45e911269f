package report

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"harmony.dev/e2e/lab"
)

func TestExceptions_TheShippedListIsWellFormed(t *testing.T) {
	f, err := os.Open("../scenarios/not-on-compose.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := Exceptions(f)
	if err != nil || len(list) == 0 {
		t.Fatalf("%d exceptions, %v", len(list), err)
	}
	skip := regexp.MustCompile(Pattern(list))
	if !skip.MatchString(list[0].Test) || skip.MatchString(list[0].Test+"Too") {
		t.Errorf("the pattern is %s", skip)
	}
}

func TestExceptions_BadLines(t *testing.T) {
	for _, line := range []string{"TestR08_X", "TestR08_X\t-", "TestR08_X\t\twhy", "TestR08_X - why"} {
		if list, err := Exceptions(strings.NewReader("# comment\n" + line)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q is %v, %v", line, list, err)
		}
	}
}

func TestCheckExceptions(t *testing.T) {
	tests := []string{"TestDev_X", "TestR01_X", "TestR08_X", "TestR09_X"}
	seen := []lab.Result{
		{Test: "TestR01_X"},
		{Test: "TestR09_X/deleted", Needs: []lab.Ability{lab.Store, lab.Cuts}},
		{Test: "TestR08_X/a"},
		{Test: "TestR08_X/b", Needs: []lab.Ability{lab.Proxies}},
	}
	for name, c := range map[string]struct {
		list []Exception
		want string
	}{
		"right":             {[]Exception{{"TestDev_X", "", "r"}, {"TestR08_X", lab.Proxies, "r"}}, ""},
		"not listed":        {nil, "TestR08_X needs"},
		"not needed":        {[]Exception{{"TestR08_X", lab.Proxies, "r"}, {"TestR01_X", lab.Proxies, "r"}}, "TestR01_X: it does not need"},
		"not lacking":       {[]Exception{{"TestR08_X", lab.Proxies, "r"}, {"TestR09_X", lab.Cuts, "r"}}, "TestR09_X: containers do have"},
		"no such test":      {[]Exception{{"TestR08_X", lab.Proxies, "r"}, {"TestR10_X", lab.Proxies, "r"}}, "TestR10_X: there is no such test"},
		"makes a stack":     {[]Exception{{"TestR08_X", lab.Proxies, "r"}, {"TestR01_X", "", "r"}}, "TestR01_X: it does make"},
		"no ability at all": {[]Exception{{"TestR08_X", "luck", "r"}}, "luck"},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckExceptions(c.list, tests, seen)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestNumbers(t *testing.T) {
	got := Numbers([]lab.Result{
		{Test: "TestR09_A/x", Passed: true},
		{Test: "TestR02_A", Passed: true},
		{Test: "TestR09_B", Passed: true},
		{Test: "TestR03_A", Passed: true},
		{Test: "TestR03_B"},
		{Test: "TestR03_C", Passed: true},
		{Test: "TestJourney_X", Passed: true},
	})
	if !slices.Equal(got, []int{2, 9}) {
		t.Errorf("got %v", got)
	}
}
