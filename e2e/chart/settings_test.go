package chart

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet/service"
)

var flagLine = regexp.MustCompile(`(?m)^ +--([a-z][a-z-]*)`)

// flagsOf returns the flags that a service's own help names.
func flagsOf(t testing.TB, service string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(lab.BinDir(t), "fleet-"+service), "--help").Output()
	if err != nil {
		t.Fatalf("fleet-%s --help ('make build' builds it): %v", service, err)
	}
	var flags []string
	for _, m := range flagLine.FindAllStringSubmatch(string(out), -1) {
		flags = append(flags, m[1])
	}
	return flags
}

// TestSettings_AreFlags compares what pods are told with what the services listen to: a variable that is misspelt does
// nothing, and nobody says so.
func TestSettings_AreFlags(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		for _, name := range services {
			flags := map[string]bool{}
			for _, flag := range flagsOf(t, name) {
				flags[service.EnvName(flag)] = true
			}
			for variable := range env(podsOf(t, v.objects)[name].Spec.Containers[0]) {
				if !flags[variable] {
					t.Errorf("%s has no flag for %s", name, variable)
				}
			}
		}
	})
}

// TestSettings_AreAllOfAService compares the schema with the flags that only one service has.
func TestSettings_AreAllOfAService(t *testing.T) {
	var schema struct {
		Properties map[string]struct {
			Properties struct {
				Settings struct{ Properties map[string]any }
			}
		}
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(chartDir(t), "values.schema.json"))), &schema); err != nil {
		t.Fatal(err)
	}
	for _, name := range services {
		others := slices.DeleteFunc(slices.Clone(services), func(s string) bool { return s == name })
		common := slices.Concat(flagsOf(t, others[0]), flagsOf(t, others[1]))
		for _, flag := range flagsOf(t, name) {
			own := !slices.Contains(common, flag) && flag != "kubeconfig" // in a cluster it has a service account
			if _, known := schema.Properties[name].Properties.Settings.Properties[flag]; known != own {
				t.Errorf("%s.settings.%s: %s, a flag of its own: %t", name, flag, strings.ReplaceAll("known: X", "X", map[bool]string{true: "yes", false: "no"}[known]), own)
			}
		}
	}
}
