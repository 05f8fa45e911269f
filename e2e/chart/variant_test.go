package chart

import "testing"

// variant is a way to install the chart.
type variant struct {
	name    string
	release release
	fleet   string // the namespace of Deployments and Devices
	objects objects
}

// variants are the default values, and all of them changed.
func variants(t testing.TB) []variant {
	t.Helper()
	plain, all := release{"harmony-fleet", "fleet"}, release{"rel", "ops"}
	return []variant{
		{"default values", plain, "fleet", plain.render(t)},
		{"all on", all, "acme-fleet", all.render(t, "--values", allOn(t))},
	}
}

func eachVariant(t *testing.T, check func(t *testing.T, v variant)) {
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) { check(t, v) })
	}
}

func TestVariants_AllOnHasEveryKind(t *testing.T) {
	kinds := map[string]int{}
	for _, u := range variants(t)[1].objects {
		kinds[u.GetKind()]++
	}
	want := map[string]int{
		"ConfigMap": 2, "CustomResourceDefinition": 2, "Deployment": 3, "Job": 1, "NetworkPolicy": 4, "PodDisruptionBudget": 3,
		"PrometheusRule": 1, "Role": 3, "RoleBinding": 3, "Service": 3, "ServiceAccount": 4, "ServiceMonitor": 1,
	}
	for kind, n := range want {
		if kinds[kind] != n {
			t.Errorf("%d %ss, want %d", kinds[kind], kind, n)
		}
	}
	if len(kinds) != len(want) {
		t.Errorf("kinds %v", kinds)
	}
}

func TestLint_FindsNothing(t *testing.T) {
	for name, options := range map[string][]string{"default values": nil, "all on": {"--values", allOn(t)}} {
		if out, problems, err := helm(t, append([]string{"lint", "--strict", chartDir(t)}, options...)...); err != nil {
			t.Errorf("%s: %v\n%s%s", name, err, out, problems)
		}
	}
}
