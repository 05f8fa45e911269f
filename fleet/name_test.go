package fleet

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNames_Validate(t *testing.T) {
	for _, good := range []string{"a", "0", "pi-07", "a--b", strings.Repeat("a", MaxNameLength)} {
		if err := errors.Join(DeviceID(good).Validate(), DeploymentName(good).Validate()); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range illegalNames() {
		for _, err := range []error{DeviceID(bad).Validate(), DeploymentName(bad).Validate()} {
			if !errors.Is(err, ErrInvalid) || len(err.Error()) > 400 {
				t.Errorf("%q: %v", bad, err)
			}
		}
	}
}

func TestPair_Compare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pairs := rapid.SliceOf(genPair()).Draw(t, "pairs")
		slices.SortFunc(pairs, Pair.Compare)
		for i := 1; i < len(pairs); i++ {
			p, q := pairs[i-1], pairs[i]
			if p.Device > q.Device || p.Device == q.Device && p.Deployment > q.Deployment {
				t.Fatalf("%v before %v", p, q)
			}
			if (p.Compare(q) == 0) != (p == q) || p.Compare(q) != -q.Compare(p) {
				t.Fatalf("%v and %v: %d and %d", p, q, p.Compare(q), q.Compare(p))
			}
		}
	})
}

func TestValidateLabel(t *testing.T) {
	part := strings.Repeat("a", 63)
	for _, good := range [][2]string{
		{"a", ""},
		{"a", "b"},
		{"A_b.C-d", "A_b.C-d"},
		{"example.com/rack", "7"},
		{part, part},
		{part + "aa/x", ""},
		{strings.Join([]string{part, part, part, part[:61]}, ".") + "/x", ""},
	} {
		if err := ValidateLabel(good[0], good[1]); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range [][2]string{
		{"", ""},
		{"/", ""},
		{"a/", ""},
		{"/a", ""},
		{"a/b/c", ""},
		{"-a", ""},
		{"a-", ""},
		{"a b", ""},
		{"é", ""},
		{part + "a", ""},
		{"A.com/x", ""},
		{"a..b/x", ""},
		{"a_b/x", ""},
		{strings.Join([]string{part, part, part, part[:62]}, ".") + "/x", ""},
		{"a", "-b"},
		{"a", "b."},
		{"a", "b c"},
		{"a", "b/c"},
		{"a", part + "a"},
		{"a", "é"},
		{strings.Repeat("a", 1<<20), ""},
	} {
		if err := ValidateLabel(bad[0], bad[1]); !errors.Is(err, ErrInvalid) || len(err.Error()) > 600 {
			t.Errorf("%.80q: %v", bad, err)
		}
	}
}

func TestEpoch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Min(1).Draw(t, "epoch")
		if got, err := ParseEpoch(FormatEpoch(n)); got != n || err != nil {
			t.Fatalf("%d: %d, %v", n, got, err)
		}
	})
	for _, bad := range []string{"", "0", "-1", "+1", "01", " 1", "1 ", "1.0", "0x1", "1_0", "18446744073709551616", "x"} {
		if got, err := ParseEpoch(bad); !errors.Is(err, ErrInvalid) || got != 0 {
			t.Errorf("%q: %d, %v", bad, got, err)
		}
	}
}

func TestCause_Doubtful(t *testing.T) {
	for cause, want := range map[Cause]bool{
		CauseDeleted: false, CauseQuarantined: false, CauseEdited: false,
		CauseVanished: true, CauseRegressed: true, CauseRelabelled: true,
	} {
		if cause.Doubtful() != want {
			t.Errorf("%s: %v", cause, !want)
		}
	}
}
