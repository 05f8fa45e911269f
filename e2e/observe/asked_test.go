package observe

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// query is something that Prometheus is asked for.
type query struct{ where, expr string }

// queries are all of the alerts and of the dashboard.
func queries(t testing.TB) (all []query) {
	t.Helper()
	for _, r := range alerts(t) {
		all = append(all, query{"alert " + r.Alert, r.Expr})
	}
	for _, p := range dashboardOf(t).Panels {
		for _, target := range p.Targets {
			all = append(all, query{"panel " + p.Title, filledIn.Replace(target.Expr)})
		}
	}
	return all
}

// filledIn puts in what Grafana does.
var filledIn = strings.NewReplacer("$__rate_interval", "5m", "$instance", ".+")

// added are the labels that Prometheus adds to what it scrapes.
var added = []string{"job", "instance", "namespace", "pod"}

// rare are labels of which most values need a fault each to be seen. The code has them as strings.
var rare = map[string]bool{"fleet_reason.reason": true, "fleet_patcher_api_request_seconds_count.result": true}

// exported fails when nobody exports a series, a label or a value that the query asks for: it would be empty for ever, and
// nobody would say so.
func (q query) exported(t *testing.T, all series) {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(q.expr)
	if err != nil {
		t.Errorf("%s: %v", q.where, err)
		return
	}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			q.selected(t, n, all)
		case *parser.AggregateExpr:
			q.grouped(t, n, all)
		}
		return nil
	})
}

func (q query) selected(t *testing.T, n *parser.VectorSelector, all series) {
	t.Helper()
	has := all[n.Name]
	if has == nil {
		t.Errorf("%s: nobody exports %s", q.where, n.Name)
		return
	}
	for _, m := range n.LabelMatchers {
		if m.Name == model.MetricNameLabel || slices.Contains(added, m.Name) {
			continue
		}
		for _, value := range wanted(m) {
			switch {
			case rare[n.Name+"."+m.Name]:
				inTheCode(t, q.where, value)
			case !has[m.Name][value]:
				t.Errorf("%s: no %s has %s=%q, but %v", q.where, n.Name, m.Name, value, has[m.Name])
			}
		}
	}
}

// wanted are the values that a matcher names.
func wanted(m *labels.Matcher) []string {
	if m.Type == labels.MatchEqual || m.Type == labels.MatchNotEqual {
		return []string{m.Value}
	}
	return strings.Split(m.Value, "|")
}

// grouped fails when no series below has a label by which the query groups.
func (q query) grouped(t *testing.T, n *parser.AggregateExpr, all series) {
	t.Helper()
	for _, label := range n.Grouping {
		found := slices.Contains(added, label)
		parser.Inspect(n.Expr, func(below parser.Node, _ []parser.Node) error {
			if v, ok := below.(*parser.VectorSelector); ok {
				found = found || all[v.Name][label] != nil
			}
			return nil
		})
		if !found {
			t.Errorf("%s: nothing that is grouped by %s has that label", q.where, label)
		}
	}
}

// inTheCode fails when no service knows a value. The apiserver's own reasons are constants of Kubernetes.
func inTheCode(t *testing.T, where, value string) {
	t.Helper()
	if slices.Contains([]string{"Conflict", "AlreadyExists", "NotFound"}, value) {
		return
	}
	out, err := exec.CommandContext(t.Context(), "grep", "-rlF", "--include=*.go", "--exclude=*_test.go",
		`"`+value+`"`, path(t, "fleet"), path(t, "services")).Output()
	if err != nil || len(out) == 0 {
		t.Errorf("%s: no service knows %q", where, value)
	}
}
