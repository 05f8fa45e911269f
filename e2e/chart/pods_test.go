package chart

import (
	"maps"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// podsOf returns the pods that an installation makes, by component.
func podsOf(t testing.TB, all objects) map[string]corev1.PodTemplateSpec {
	t.Helper()
	pods := map[string]corev1.PodTemplateSpec{}
	for _, u := range all.kind("Deployment") {
		pods[componentOf(u)] = as[appsv1.Deployment](t, u).Spec.Template
	}
	for _, u := range all.kind("Job") {
		pods[componentOf(u)] = as[batchv1.Job](t, u).Spec.Template
	}
	return pods
}

func componentOf(u *unstructured.Unstructured) string {
	return u.GetLabels()["app.kubernetes.io/component"]
}

func TestPods_OneDeploymentPerService(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		for _, service := range services {
			d := as[appsv1.Deployment](t, v.objects.kind("Deployment").of(service).one(t))
			if *d.Spec.Replicas < 2 {
				t.Errorf("%s has %d replicas", service, *d.Spec.Replicas)
			}
			r := d.Spec.Strategy.RollingUpdate
			if d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType || r.MaxSurge.IntVal != 1 || r.MaxUnavailable.IntVal != 0 {
				t.Errorf("%s is updated by %+v", service, d.Spec.Strategy)
			}
			hits(t, service+" selects", d.Spec.Selector, podsOf(t, v.objects), service)
			for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
				hits(t, service+" is spread among", c.LabelSelector, podsOf(t, v.objects), service)
			}
		}
	})
}

// hits fails when a selector selects other pods than those of a component.
func hits(t *testing.T, what string, s *metav1.LabelSelector, pods map[string]corev1.PodTemplateSpec, component string) {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range slices.Sorted(maps.Keys(pods)) {
		if selector.Matches(labels.Set(pods[name].Labels)) {
			got = append(got, name)
		}
	}
	if !slices.Equal(got, []string{component}) {
		t.Errorf("%s the pods of %q", what, got)
	}
}

func TestPods_ProbesAskForWhatIsServed(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		for _, service := range services {
			c := podsOf(t, v.objects)[service].Spec.Containers[0]
			for path, probe := range map[string]*corev1.Probe{"/readyz": c.ReadinessProbe, "/healthz": c.LivenessProbe} {
				if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || portOf(c, probe.HTTPGet.Port) != 8080 {
					t.Errorf("%s: %s is not asked for: %+v", service, path, probe)
				}
			}
			if got := env(c)["FLEET_HTTP_LISTEN"]; got != ":8080" {
				t.Errorf("%s listens at %q", service, got)
			}
		}
	})
}

// portOf returns the number of a container's port, 0 when there is no such port.
func portOf(c corev1.Container, port intstr.IntOrString) int32 {
	for _, p := range c.Ports {
		if p.Name == port.StrVal || p.ContainerPort == port.IntVal {
			return p.ContainerPort
		}
	}
	return 0
}

func env(c corev1.Container) map[string]string {
	all := map[string]string{}
	for _, e := range c.Env {
		all[e.Name] = e.Value
	}
	return all
}

// TestPods_AreRestricted has the published judge of the Pod Security Standards look at them, and what those do not ask for.
func TestPods_AreRestricted(t *testing.T) {
	judge, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	eachVariant(t, func(t *testing.T, v variant) {
		for component, pod := range podsOf(t, v.objects) {
			verdict := policy.AggregateCheckResults(judge.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec))
			if !verdict.Allowed {
				t.Errorf("%s is not restricted: %s", component, verdict.ForbiddenDetail())
			}
			if user := pod.Spec.SecurityContext.RunAsUser; user == nil || *user != 65532 {
				t.Errorf("%s runs as another user than the images'", component)
			}
			for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
				bounded(t, component, c)
			}
		}
	})
}

func bounded(t *testing.T, component string, c corev1.Container) {
	t.Helper()
	if ro := c.SecurityContext.ReadOnlyRootFilesystem; ro == nil || !*ro {
		t.Errorf("%s: container %s may write to its root file system", component, c.Name)
	}
	if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
		t.Errorf("%s: container %s has resources %v", component, c.Name, c.Resources)
	}
}

func TestPods_OnlyThePatcherHasATokenForLong(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		accounts := map[string]string{} // account to component
		for component, pod := range podsOf(t, v.objects) {
			account := v.objects.kind("ServiceAccount").of(component).one(t)
			if name := pod.Spec.ServiceAccountName; name != account.GetName() || accounts[name] != "" {
				t.Errorf("%s runs as %q, as does %q; its own account is %s", component, name, accounts[name], label(account))
			}
			accounts[pod.Spec.ServiceAccountName] = component
			if given := as[corev1.ServiceAccount](t, account).AutomountServiceAccountToken; given == nil || *given {
				t.Errorf("%s gives a token to whoever uses it", label(account))
			}
			wants := pod.Spec.AutomountServiceAccountToken
			if needs := component == "patcher" || component == "uninstall"; wants == nil || *wants != needs {
				t.Errorf("%s: a token is mounted: %v, want %t", component, wants, needs)
			}
		}
		for _, u := range v.objects.of("uninstall").kind("ServiceAccount", "Role", "RoleBinding", "Job") {
			a := u.GetAnnotations()
			if a[hookAnnotation] != "pre-delete" || !strings.Contains(a["helm.sh/hook-delete-policy"], "before-hook-creation,hook-succeeded") {
				t.Errorf("%s is not there for the uninstall only: %v", label(u), a)
			}
		}
		for _, u := range v.objects.kind("ClusterRole", "ClusterRoleBinding") {
			t.Errorf("%s is for the whole cluster", label(u))
		}
	})
}

func TestPods_ImagesAreThoseOfTheValues(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		want := map[string]string{
			"patcher": "harmony-fleet/patcher:devel", "reconciler": "harmony-fleet/reconciler:devel",
			"aggregator": "harmony-fleet/aggregator:devel", "uninstall": "harmony-fleet/cli:devel",
		}
		if v.name == "all on" {
			from := "registry.example:5000/mirror/harmony-fleet/"
			want = map[string]string{
				"patcher": from + "patcher:v1.2.2", "reconciler": from + "reconciler:v1.2.3",
				"aggregator": from + "aggregator:v1.2.3", "uninstall": from + "cli:v1.2.4",
			}
		}
		for component, pod := range podsOf(t, v.objects) {
			for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
				if c.Image != want[component] {
					t.Errorf("%s: container %s runs %s, want %s", component, c.Name, c.Image, want[component])
				}
			}
			if secrets := pod.Spec.ImagePullSecrets; v.name == "all on" && (len(secrets) != 1 || secrets[0].Name != "registry") {
				t.Errorf("%s pulls with %v", component, secrets)
			}
		}
	})
}

func TestDisruption_IsBoundedForEachService(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		for _, service := range services {
			b := as[policyv1.PodDisruptionBudget](t, v.objects.kind("PodDisruptionBudget").of(service).one(t))
			hits(t, "the budget of "+service+" is for", b.Spec.Selector, podsOf(t, v.objects), service)
			replicas := int(*as[appsv1.Deployment](t, v.objects.kind("Deployment").of(service).one(t)).Spec.Replicas)
			may, err := intstr.GetScaledValueFromIntOrPercent(b.Spec.MaxUnavailable, replicas, true)
			if err != nil || may < 1 || may >= replicas {
				t.Errorf("of %d replicas of %s %d may be away, %v", replicas, service, may, err)
			}
		}
	})
}

func TestMetrics_AreFound(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		monitors := v.objects.kind("ServiceMonitor")
		for _, service := range services {
			u := v.objects.kind("Service").of(service).one(t)
			s := as[corev1.Service](t, u)
			hits(t, "the Service of "+service+" selects", &metav1.LabelSelector{MatchLabels: s.Spec.Selector}, podsOf(t, v.objects), service)
			if port := portOf(podsOf(t, v.objects)[service].Spec.Containers[0], s.Spec.Ports[0].TargetPort); port != 8080 {
				t.Errorf("the Service of %s leads to port %d", service, port)
			}
			for _, m := range monitors {
				monitor := as[monitoringv1.ServiceMonitor](t, m)
				selector, err := metav1.LabelSelectorAsSelector(&monitor.Spec.Selector)
				if err != nil || !selector.Matches(labels.Set(u.GetLabels())) || monitor.Spec.Endpoints[0].Port != s.Spec.Ports[0].Name {
					t.Errorf("%s does not find %s, %v", label(m), label(u), err)
				}
			}
		}
	})
}

func TestNetworkPolicies_AreForOneComponentEach(t *testing.T) {
	all := variants(t)[1]
	for component := range podsOf(t, all.objects) {
		p := as[networkingv1.NetworkPolicy](t, all.objects.kind("NetworkPolicy").of(component).one(t))
		hits(t, "the NetworkPolicy of "+component+" is for", &p.Spec.PodSelector, podsOf(t, all.objects), component)
		if len(p.Spec.PolicyTypes) != 2 {
			t.Errorf("%s: only %v is bounded", component, p.Spec.PolicyTypes)
		}
		var ports []int32
		for _, rule := range p.Spec.Egress {
			for _, port := range rule.Ports {
				ports = append(ports, port.Port.IntVal)
			}
		}
		want := map[string][]int32{
			"patcher": {53, 53, 4222, 443, 6443}, "reconciler": {53, 53, 4222, 443}, "aggregator": {53, 53, 4222, 443}, "uninstall": {53, 53, 6443},
		}[component]
		if !slices.Equal(ports, want) {
			t.Errorf("%s may reach the ports %v, want %v", component, ports, want)
		}
	}
}
