package chart

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
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

// TestAlerts_AreThoseOfTheirSource: but for the series of the release, and what the values change.
func TestAlerts_AreThoseOfTheirSource(t *testing.T) {
	all := variants(t)[1]
	var source monitoringv1.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict([]byte(read(t, file(t, "deploy", "prometheus", "alerts.yaml"))), &source); err != nil {
		t.Fatal(err)
	}
	scope := fmt.Sprintf(`namespace=%q,job=~"acme-edge-(%s)"`, all.release.namespace, strings.Join(services, "|"))
	var want []monitoringv1.Rule
	for _, g := range source.Groups {
		want = append(want, g.Rules...)
	}
	got := alerts(t, all.objects)
	if len(got) != len(want) {
		t.Fatalf("%d alerts, want %d", len(got), len(want))
	}
	for i, w := range want {
		if w.Expr = intstr.FromString(strings.ReplaceAll(w.Expr.String(), `job=~".+"`, scope)); w.Alert == "FleetDevicesStale" {
			w.Expr = intstr.FromString(strings.ReplaceAll(w.Expr.String(), "> 0.1", "> 0.25"))
		}
		w.Annotations["runbook_url"] = "https://wiki.example/fleet#" + strings.ToLower(w.Alert)
		if !reflect.DeepEqual(got[i], w) {
			t.Errorf("got %+v, want %+v", got[i], w)
		}
	}
}

// TestDashboard_IsItsSource has the ConfigMap hold the dashboard byte by byte, with what the sidecar of Grafana looks for.
func TestDashboard_IsItsSource(t *testing.T) {
	all := variants(t)[1]
	u := all.objects.of("metrics").kind("ConfigMap").one(t)
	if got, want := as[corev1.ConfigMap](t, u).Data["harmony-fleet.json"], read(t, file(t, "deploy", "grafana", "dashboard.json")); strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Error("it is another one than deploy/grafana/dashboard.json")
	}
	if u.GetLabels()["dashboards"] != "grafana" || u.GetAnnotations()["grafana_folder"] != "Edge" {
		t.Errorf("labels %v, annotations %v", u.GetLabels(), u.GetAnnotations())
	}
}
