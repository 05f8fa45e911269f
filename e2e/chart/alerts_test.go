package chart

import (
	"context"
	"errors"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// alerts are the rendered rules.
func alerts(t testing.TB, all objects) []monitoringv1.Rule {
	t.Helper()
	var rules []monitoringv1.Rule
	for _, g := range as[monitoringv1.PrometheusRule](t, all.kind("PrometheusRule").one(t)).Spec.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules
}

// selectors are the series that an alert asks for, as lists of matchers.
func selectors(t testing.TB, rule monitoringv1.Rule) [][]*labels.Matcher {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(rule.Expr.String())
	if err != nil {
		t.Fatalf("%s: %v", rule.Alert, err)
	}
	return parser.ExtractSelectors(expr)
}

// TestAlerts_SayWhatIsWrong looks at what a person gets to read.
func TestAlerts_SayWhatIsWrong(t *testing.T) {
	all := variants(t)[1]
	seen := 0
	for _, rule := range alerts(t, all.objects) {
		seen++
		for _, name := range []string{"summary", "description"} {
			if text := rule.Annotations[name]; !strings.HasSuffix(text, ".") || strings.Contains(text, "{{ `") {
				t.Errorf("%s: the %s is %q", rule.Alert, name, text)
			}
		}
		if s := rule.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", rule.Alert, s)
		}
		for _, s := range selectors(t, rule) {
			for label, want := range map[string]string{"namespace": all.release.namespace, "job": "acme-edge-patcher"} {
				if i := slices.IndexFunc(s, func(m *labels.Matcher) bool { return m.Name == label }); i < 0 ||
					!s[i].Matches(want) && !strings.HasPrefix(s[i].Value, "acme-edge-") || s[i].Matches("another") {
					t.Errorf("%s: %s is not of this release alone: %v", rule.Alert, label, s)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("%d alerts", seen)
	}
}

var (
	series = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? `)
	pair   = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
)

// measured is what services export: metric to label to values.
type measured map[string]map[string]map[string]bool

func (m measured) add(text string) {
	for _, line := range series.FindAllStringSubmatch(text, -1) {
		if m[line[1]] == nil {
			m[line[1]] = map[string]map[string]bool{}
		}
		for _, p := range pair.FindAllStringSubmatch(line[2], -1) {
			if m[line[1]][p[1]] == nil {
				m[line[1]][p[1]] = map[string]bool{}
			}
			m[line[1]][p[1]][p[2]] = true
		}
	}
}

// TestAlerts_AreAboutWhatIsMeasured compares the alerts with the metrics of services that run, in a fleet in which
// something is wrong: an alert on a name that nobody exports never fires, and nobody says so.
func TestAlerts_AreAboutWhatIsMeasured(t *testing.T) {
	s := install(t)
	s.StartDevices(2)
	s.API.Apply(lab.Deployment{Name: "web", Selector: fleet.Selector{MatchLabels: map[string]string{"region": "north"}}})
	s.awaitRunning("web", 1)
	if _, err := s.NATS.JetStream().Publish(t.Context(), "$KV."+fleet.BucketDeviceState+".no.such.key", []byte("{")); err != nil {
		t.Fatal(err)
	}
	if err := s.Conn().Publish(fleet.DesiredSubject("dev-0001"), nil); err != nil { // asks, and takes no answer
		t.Fatal(err)
	}
	got := measured{}
	s.Eventually(soon, "what is wrong is measured", func(context.Context) error {
		for _, r := range s.services {
			got.add(r.metrics())
		}
		if got["fleet_reason"] == nil || got["fleet_reconciler_snapshots_refused_total"] == nil {
			return errors.New("it is not yet")
		}
		return nil
	})
	for _, rule := range alerts(t, variants(t)[1].objects) {
		for _, s := range selectors(t, rule) {
			exported(t, rule.Alert, s, got)
		}
	}
}

// rare are labels whose values need a fault each to be seen. The code has them as strings.
var rare = map[string]bool{"fleet_reason.reason": true, "fleet_patcher_api_write_seconds_count.result": true, "fleet_reconciler_snapshots_refused_total.reason": true}

// exported fails when nobody exports a metric, a label of it, or a value that the alert asks for.
func exported(t *testing.T, alert string, matchers []*labels.Matcher, got measured) {
	t.Helper()
	i := slices.IndexFunc(matchers, func(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel })
	metric := matchers[i].Value
	if metric == "up" {
		return // of Prometheus itself
	}
	if got[metric] == nil {
		t.Errorf("%s: nobody exports %s", alert, metric)
		return
	}
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel || m.Name == "namespace" || m.Name == "job" {
			continue // Prometheus adds the others
		}
		for value := range strings.SplitSeq(m.Value, "|") {
			switch {
			case rare[metric+"."+m.Name]:
				inTheCode(t, alert, value)
			case !got[metric][m.Name][value]:
				t.Errorf("%s: no %s has %s=%q, but %v", alert, metric, m.Name, value, got[metric][m.Name])
			}
		}
	}
}

// inTheCode fails when no service knows a value. The apiserver's own reasons are constants of Kubernetes.
func inTheCode(t *testing.T, alert, value string) {
	t.Helper()
	if slices.Contains([]string{"Conflict", "AlreadyExists", "NotFound"}, value) {
		return
	}
	root := lab.Root(t)
	out, err := exec.CommandContext(t.Context(), "grep", "-rlF", "--include=*.go", "--exclude=*_test.go", `"`+value+`"`, root+"/fleet", root+"/services").Output()
	if err != nil || len(out) == 0 {
		t.Errorf("%s: no service knows %q", alert, value)
	}
}
