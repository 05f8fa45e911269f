package chart

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"harmony.dev/fleet/fleettest/kubetest"
)

// grant applies exactly the accounts and permissions that were rendered.
func grant(t testing.TB, s *kubetest.Server, all objects) {
	t.Helper()
	for _, kind := range []string{"ServiceAccount", "Role", "RoleBinding"} {
		for _, u := range all.kind(kind) {
			apply(t, s.Dynamic, u)
		}
	}
}

// account returns how a pod of a ServiceAccount reaches the API: by a token for exactly it.
func account(t testing.TB, s *kubetest.Server, namespace, name string) *rest.Config {
	t.Helper()
	accounts := s.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}).Namespace(namespace)
	made, err := accounts.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"expirationSeconds": int64(3600)},
	}}, metav1.CreateOptions{}, "token")
	if err != nil {
		t.Fatalf("ask for a token of %s/%s: %v", namespace, name, err)
	}
	token, _, _ := unstructured.NestedString(made.Object, "status", "token")
	cfg := rest.AnonymousClientConfig(s.Config)
	cfg.BearerToken, cfg.QPS = token, -1
	return cfg
}

// kubeconfig writes a file that says the same.
func kubeconfig(t testing.TB, cfg *rest.Config) string {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthority: cfg.CAFile, CertificateAuthorityData: cfg.CAData, InsecureSkipTLSVerify: cfg.Insecure}
	c.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: cfg.BearerToken}
	c.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	c.CurrentContext = "x"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// verbs are all that authorization knows of, and the star that stands for all.
var verbs = []string{
	"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection",
	"bind", "escalate", "impersonate", "approve", "sign", "attest", "use", "proxy", "connect", "*",
}

// unserved are resources that a whole cluster has, beside those of the API here.
var unserved = []schema.GroupResource{
	{Resource: "pods"},
	{Resource: "pods/exec"},
	{Resource: "pods/log"},
	{Resource: "nodes"},
	{Resource: "nodes/proxy"},
	{Resource: "services"},
	{Group: "apps", Resource: "deployments"},
	{Group: "apps", Resource: "deployments/scale"},
	{Group: "apps", Resource: "daemonsets"},
	{Group: "batch", Resource: "jobs"},
	{Group: "networking.k8s.io", Resource: "networkpolicies"},
	{Group: "*", Resource: "*"},
}

// question is one call that somebody may or may not make.
type question struct {
	where           string // "fleet", "release", "elsewhere" or "cluster"
	namespace, verb string
	resource        schema.GroupResource
	name            string // "": of any object
}

// String returns it as roles say it: "fleet: patch deployments.fleet.harmony.dev".
func (q question) String() string {
	text := q.where + ": " + q.verb + " " + q.resource.String()
	if q.name != "" {
		text += " " + q.name
	}
	return text
}

// questions are all calls: each resource and subresource, each verb, in each place, of any object and of those named.
func questions(t testing.TB, s *kubetest.Server, places map[string]string, names ...string) []question {
	t.Helper()
	resources := map[schema.GroupResource]bool{}
	for _, r := range served(t, s.Config) {
		resources[r.GroupResource()] = true
	}
	for _, r := range unserved {
		resources[r] = true
	}
	var all []question
	for where, namespace := range places {
		for r := range resources {
			for _, verb := range verbs {
				for _, name := range append([]string{""}, names...) {
					all = append(all, question{where, namespace, verb, r, name})
				}
			}
		}
	}
	return all
}

// allowed asks the API each question as the account, and returns those that it may.
func allowed(t testing.TB, cfg *rest.Config, all []question) []string {
	t.Helper()
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var may []string
	var failed error
	var wg sync.WaitGroup
	const askers = 16
	for i := range askers {
		wg.Go(func() {
			for n := i; n < len(all); n += askers {
				yes, err := mayI(t.Context(), client, all[n])
				mu.Lock()
				if yes {
					may = append(may, all[n].String())
				}
				if err != nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed != nil {
		t.Fatalf("ask what is allowed: %v", failed)
	}
	slices.Sort(may)
	return may
}

func mayI(ctx context.Context, client dynamic.Interface, q question) (bool, error) {
	resource, sub, _ := strings.Cut(q.resource.Resource, "/")
	reviews := schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}
	answer, err := client.Resource(reviews).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
		"spec": map[string]any{"resourceAttributes": map[string]any{
			"namespace": q.namespace, "verb": q.verb, "group": q.resource.Group, "resource": resource, "subresource": sub, "name": q.name,
		}},
	}}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	yes, _, err := unstructured.NestedBool(answer.Object, "status", "allowed")
	return yes, err
}

// everybody is what the API's own default roles allow any ServiceAccount: to ask what it may itself, and to read which
// certificates the cluster trusts.
func everybody(places map[string]string) []string {
	var all []string
	for where := range places {
		for _, r := range []string{"selfsubjectaccessreviews.authorization.k8s.io", "selfsubjectrulesreviews.authorization.k8s.io", "selfsubjectreviews.authentication.k8s.io"} {
			all = append(all, where+": create "+r)
		}
		for _, verb := range []string{"get", "list", "watch"} {
			all = append(all, where+": "+verb+" clustertrustbundles.certificates.k8s.io")
		}
	}
	return all
}

// rulesOf are the calls that rendered Roles allow, in the form of question.
func rulesOf(t testing.TB, roles objects, places map[string]string) []string {
	t.Helper()
	var all []string
	for _, u := range roles.kind("Role") {
		where := ""
		for place, namespace := range places {
			if namespace == u.GetNamespace() {
				where = place
			}
		}
		for _, rule := range as[rbacv1.Role](t, u).Rules {
			names := rule.ResourceNames
			if len(names) == 0 {
				names = []string{""}
			}
			for _, r := range rule.Resources {
				for _, verb := range rule.Verbs {
					for _, name := range names {
						all = append(all, question{where, "", verb, schema.GroupResource{Group: rule.APIGroups[0], Resource: r}, name}.String())
					}
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

// compare fails for each call that is in one list only.
func compare(t testing.TB, who string, got, want []string) {
	t.Helper()
	for _, call := range got {
		if !slices.Contains(want, call) {
			t.Errorf("%s: %s, and should not", who, call)
		}
	}
	for _, call := range want {
		if !slices.Contains(got, call) {
			t.Errorf("%s: not %s, and should", who, call)
		}
	}
}

func withEverybody(calls []string, places map[string]string, names ...string) []string {
	all := slices.Clone(calls)
	for _, call := range everybody(places) {
		all = append(all, call)
		for _, name := range names {
			all = append(all, fmt.Sprintf("%s %s", call, name))
		}
	}
	return all
}
