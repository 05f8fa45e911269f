package chart

import (
	"strings"
	"testing"
)

// TestSchema_RefusesBadValues shows that a mistake is refused, and that the message names the value.
func TestSchema_RefusesBadValues(t *testing.T) {
	for _, c := range []struct {
		set  string
		says []string
	}{
		{"replicas=3", []string{"'replicas' not allowed"}},
		{"patcher.replica=3", []string{"/patcher", "'replica' not allowed"}},
		{"patcher.replicas=0", []string{"/patcher/replicas", "minimum: got 0, want 1"}},
		{"patcher.replicas=two", []string{"/patcher/replicas", "want integer"}},
		{"fleet=My_Fleet", []string{"/fleet", "does not match pattern"}},
		{"fullnameOverride=" + strings.Repeat("a", 51), []string{"/fullnameOverride", "maxLength: got 51, want 50"}},
		{"nats.url=", []string{"/nats/url"}},
		{"nats.url=http://nats:4222", []string{"/nats/url"}},
		{"nats.url=nats://fleet:secret@nats:4222", []string{"/nats/url"}},
		{"nats.control.url=nats://fleet:secret@nats:4222", []string{"/nats/control/url"}},
		{"nats.password=secret", []string{"/nats", "'password' not allowed"}},
		{"nats.creds=inline", []string{"/nats/creds", "want object"}},
		{"nats.creds.secretName=Not_A_Name", []string{"/nats/creds/secretName"}},
		{"nats.tls.first=maybe", []string{"/nats/tls/first", "want boolean"}},
		{"buckets.replicas=2", []string{"/buckets/replicas", "1, 3, 5"}},
		{"buckets.storage=disk", []string{"/buckets/storage", "'file', 'memory'"}},
		{"buckets.maxBytes=-1", []string{"/buckets/maxBytes"}},
		{"leaseTTL=10", []string{"/leaseTTL", "want string"}},
		{"leaseTTL=10sec", []string{"/leaseTTL", "does not match pattern"}},
		{"log.level=verbose", []string{"/log/level", "'debug', 'info', 'warn', 'error'"}},
		{"image.pullPolicy=Sometimes", []string{"/image/pullPolicy", "'IfNotPresent'"}},
		{"image.tag=a tag", []string{"/image/tag"}},
		{"image.pullSecrets[0]=registry", []string{"/image/pullSecrets/0", "want object"}},
		{"aggregator.settings.stale=3m", []string{"/aggregator/settings", "'stale' not allowed"}},
		{"reconciler.settings.brake-percent=101", []string{"/reconciler/settings/brake-percent", "maximum"}},
		{"podDisruptionBudget.maxUnavailable=0", []string{"/podDisruptionBudget/maxUnavailable"}},
		{"podDisruptionBudget.maxUnavailable=150%", []string{"/podDisruptionBudget/maxUnavailable"}},
		{"pods.topologySpread[0].topologyKey=zone", []string{"/pods/topologySpread/0", "missing properties"}},
		{"networkPolicy.natsPorts[0]=70000", []string{"/networkPolicy/natsPorts/0"}},
		{"crds.install=yes", []string{"/crds/install", "want boolean"}},
		{"prometheusRule.staleDevicesRatio=10", []string{"/prometheusRule/staleDevicesRatio"}},
		{"prometheusRule.runbooks=docs/runbooks.md", []string{"/prometheusRule/runbooks"}},
		{"grafanaDashboard.labels=grafana", []string{"/grafanaDashboard/labels", "want object"}},
		// what a schema cannot say well, the templates do
		{"nats.creds.secretName=a,nats.nkey.secretName=b", []string{"the data connection has both creds and nkey"}},
		{"nats.contextSecret.secretName=a,nats.control.inboxPrefix=b", []string{"set nats.control.url or nats.control.contextSecret too"}},
	} {
		out, problems, err := helm(t, "template", "harmony-fleet", chartDir(t), "--set", c.set)
		if err == nil {
			t.Errorf("%s is rendered: %.100s…", c.set, out)
			continue
		}
		for _, says := range c.says {
			if !strings.Contains(problems, says) {
				t.Errorf("%s: the message lacks %q:\n%s", c.set, says, problems)
			}
		}
	}
}

// TestSchema_TakesTheChartAsPartOfAnother has Helm render a chart that depends on this one, and passes on what is global.
func TestSchema_TakesTheChartAsPartOfAnother(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/Chart.yaml", "apiVersion: v2\nname: all\nversion: 1.0.0\ndependencies: [{name: harmony-fleet, version: \">=0\", repository: \"file://"+chartDir(t)+"\"}]\n")
	write(t, dir+"/values.yaml", "global: {region: north}\nharmony-fleet: {fleet: edge}\n")
	if out, problems, err := helm(t, "dependency", "build", dir); err != nil {
		t.Fatalf("%v\n%s%s", err, out, problems)
	}
	if out, problems, err := helm(t, "template", "x", dir); err != nil || !strings.Contains(out, `value: "edge"`) {
		t.Errorf("%v\n%s", err, problems)
	}
}
