// Package observe tests what people watch the operator by: that the metrics of services that run are those of
// docs/metrics.md and named by the rules of Prometheus, that the alerts of deploy/prometheus fire when they should, that they and
// the dashboard of deploy/grafana ask for nothing that nobody exports, and that docs/runbooks.md has an answer to each alert.
package observe

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"harmony.dev/e2e/lab"
)

// update has docs/metrics.md written as it should be.
var update = flag.Bool("update", false, "write docs/metrics.md")

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// path is a file of the repository.
func path(t testing.TB, elements ...string) string {
	return filepath.Join(append([]string{lab.Root(t)}, elements...)...)
}

func read(t testing.TB, elements ...string) string {
	t.Helper()
	text, err := os.ReadFile(path(t, elements...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
