package observe

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
)

// TestMetrics is about what services that run export, and who asks for it.
func TestMetrics(t *testing.T) {
	pages := running(t)
	for _, p := range pages {
		t.Run("names of the "+p.service, func(t *testing.T) { wellNamed(t, p) })
	}
	t.Run("alerts and dashboard", func(t *testing.T) {
		all := seriesOf(pages)
		for _, q := range queries(t) {
			q.exported(t, all)
		}
	})
	t.Run("docs/metrics.md", func(t *testing.T) { documented(t, pages) })
	t.Run("no label is of a device", func(t *testing.T) { anonymous(t, pages) })
}

// wellNamed has the linter of Prometheus look at a page.
func wellNamed(t *testing.T, p page) {
	problems, err := promlint.New(bytes.NewReader(p.text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
	for name, f := range p.families {
		if strings.HasPrefix(name, "fleet_") && !strings.HasSuffix(f.GetHelp(), ".") {
			t.Errorf("%s: the help is no sentence: %q", name, f.GetHelp())
		}
	}
}

// anonymous fails when a name of a device or Deployment is the value of a label: there would be a series for each.
func anonymous(t *testing.T, pages []page) {
	for name, labels := range seriesOf(pages) {
		for label, values := range labels {
			for value := range values {
				if strings.Contains(value, "dev-00") || value == "web" {
					t.Errorf("%s has %s=%q", name, label, value)
				}
			}
		}
	}
}

// documented compares docs/metrics.md with what is exported, or writes it.
func documented(t *testing.T, pages []page) {
	want := document(pages)
	if *update {
		if err := os.WriteFile(path(t, "docs", "metrics.md"), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, "docs", "metrics.md"); got != want {
		t.Errorf("docs/metrics.md is not what the services export: run 'go test ./e2e/observe -run TestMetrics -update' and look at the difference")
	}
}

const introduction = `# Metrics

What the services export at ` + "`/metrics`" + `, besides ` + "`go_*` and `process_*`" + `. A test writes this page from services that run, and
fails when it is not so.

No label has a value that comes from a device, a Deployment or a user: however many there are, the series are as many as
here. What a label counts is there from the start, at 0, except for errors of the apiserver (` + "`result`" + `) and reasons
(` + "`reason`" + `), which come when they happen for the first time.

[deploy/prometheus/alerts.yaml](../deploy/prometheus/alerts.yaml) are alerts on them, with a [runbook](runbooks.md) each, and
[deploy/grafana/dashboard.json](../deploy/grafana/dashboard.json) is a dashboard.

| metric | type | labels | of | |
|---|---|---|---|---|
`

// document is what docs/metrics.md has to be.
func document(pages []page) string {
	of := map[string][]string{}
	families := map[string]*dto.MetricFamily{}
	for _, p := range pages {
		for name, f := range p.families {
			if strings.HasPrefix(name, "fleet_") {
				of[name], families[name] = append(of[name], p.service), f
			}
		}
	}
	var b strings.Builder
	b.WriteString(introduction)
	for _, name := range slices.Sorted(maps.Keys(families)) {
		services := "all"
		if slices.Sort(of[name]); len(of[name]) < len(pages) {
			services = strings.Join(of[name], ", ")
		}
		f := families[name]
		labels := ""
		if has := names(f); len(has) > 0 {
			labels = "`" + strings.Join(has, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", name, strings.ToLower(f.GetType().String()), labels, services, f.GetHelp())
	}
	return b.String()
}
