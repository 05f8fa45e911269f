package observe

import (
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"sigs.k8s.io/yaml"
)

// alertsTests is deploy/prometheus/alerts_test.yaml, as far as it uses the format of promtool's unit tests.
type alertsTests struct {
	RuleFiles          []string       `json:"rule_files"`
	EvaluationInterval model.Duration `json:"evaluation_interval"`
	Tests              []alertsTest   `json:"tests"`
}

type alertsTest struct {
	Name     string         `json:"name"`
	Interval model.Duration `json:"interval"`
	Series   []struct {
		Series string `json:"series"`
		Values string `json:"values"`
	} `json:"input_series"`
	Checks []check `json:"alert_rule_test"`
}

// check is what of an alert fires at a time.
type check struct {
	At     model.Duration `json:"eval_time"`
	Alert  string         `json:"alertname"`
	Expect []firing       `json:"exp_alerts"`
}

// firing is an alert that fires.
type firing struct {
	Labels      map[string]string `json:"exp_labels"`
	Annotations map[string]string `json:"exp_annotations"`
}

// alerts are the rules of deploy/prometheus/alerts.yaml.
func alerts(t testing.TB) (all []rulefmt.Rule) {
	t.Helper()
	groups, errs := rulefmt.ParseFile(path(t, "deploy", "prometheus", "alerts.yaml"), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func alertsTestsOf(t testing.TB) alertsTests {
	t.Helper()
	var all alertsTests
	if err := yaml.UnmarshalStrict([]byte(read(t, "deploy", "prometheus", "alerts_test.yaml")), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestAlerts_FireWithTheirFaultOnly evaluates the alerts as Prometheus does, on the series of their tests.
func TestAlerts_FireWithTheirFaultOnly(t *testing.T) {
	all := alertsTestsOf(t)
	for _, test := range all.Tests {
		t.Run(test.Name, func(t *testing.T) { test.run(t, alerts(t), time.Duration(all.EvaluationInterval)) })
	}
}

// TestAlerts_EachIsTested has each be seen to fire, to be quiet before or after that, and to be quiet when nothing is wrong.
func TestAlerts_EachIsTested(t *testing.T) {
	fires, quiet, healthy := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, test := range alertsTestsOf(t).Tests {
		for _, c := range test.Checks {
			switch {
			case len(c.Expect) > 0:
				fires[c.Alert] = true
			case test.Name == c.Alert:
				quiet[c.Alert] = true
			case test.Name == "nothing is wrong":
				healthy[c.Alert] = true
			}
		}
	}
	for _, rule := range alerts(t) {
		if n := rule.Alert; !fires[n] || !quiet[n] || !healthy[n] {
			t.Errorf("%s: seen to fire %t, to be quiet %t, to be quiet in a healthy fleet %t", n, fires[n], quiet[n], healthy[n])
		}
	}
}

func (test alertsTest) run(t *testing.T, all []rulefmt.Rule, every time.Duration) {
	t.Helper()
	query := rules.EngineQueryFunc(
		promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery),
		promqltest.LoadedStorage(t, test.load()),
	)
	evaluated := test.rules(t, all)
	for after := time.Duration(0); after <= test.end(); after += every {
		for _, r := range evaluated {
			if _, err := r.Eval(t.Context(), 0, time.Unix(0, 0).Add(after), query, &url.URL{}, 0); err != nil {
				t.Fatalf("%s: %v", r.Name(), err)
			}
		}
		for _, c := range test.Checks {
			if time.Duration(c.At) == after {
				c.compare(t, evaluated[c.Alert])
			}
		}
	}
}

// load is the series in the language of Prometheus' own tests.
func (test alertsTest) load() string {
	var b strings.Builder
	fmt.Fprintf(&b, "load %s\n", test.Interval)
	for _, s := range test.Series {
		fmt.Fprintf(&b, "  %s %s\n", s.Series, s.Values)
	}
	return b.String()
}

// rules are those that the test is about.
func (test alertsTest) rules(t *testing.T, all []rulefmt.Rule) map[string]*rules.AlertingRule {
	t.Helper()
	made := map[string]*rules.AlertingRule{}
	for _, r := range all {
		if !slices.ContainsFunc(test.Checks, func(c check) bool { return c.Alert == r.Alert }) {
			continue
		}
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(r.Expr)
		if err != nil {
			t.Fatalf("%s: %v", r.Alert, err)
		}
		made[r.Alert] = rules.NewAlertingRule(r.Alert, expr, time.Duration(r.For), time.Duration(r.KeepFiringFor),
			labels.FromMap(r.Labels), labels.FromMap(r.Annotations), labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler))
	}
	return made
}

func (test alertsTest) end() (end time.Duration) {
	for _, c := range test.Checks {
		end = max(end, time.Duration(c.At))
	}
	return end
}

// compare fails unless what fires of the alert is what the check expects.
func (c check) compare(t *testing.T, rule *rules.AlertingRule) {
	t.Helper()
	if rule == nil {
		t.Fatalf("there is no alert %s", c.Alert)
	}
	var got []firing
	for _, a := range rule.ActiveAlerts() {
		if a.State == rules.StateFiring {
			is := a.Labels.Map()
			delete(is, model.AlertNameLabel)
			got = append(got, firing{is, a.Annotations.Map()})
		}
	}
	if !slices.EqualFunc(got, c.Expect, func(a, b firing) bool {
		return maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations)
	}) {
		t.Errorf("%s after %s:\n%v\nwant\n%v", c.Alert, c.At, got, c.Expect)
	}
}
