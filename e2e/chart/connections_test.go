package chart

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// natsDir is where pods find their contexts.
const natsDir = "/etc/harmony-fleet/nats"

// TestConnections_CarryNoSecret looks through all that is rendered: secrets are files of existing Secrets, and what names
// these files has no other content.
func TestConnections_CarryNoSecret(t *testing.T) {
	harmless := []string{"description", "url", "creds", "nkey", "ca", "cert", "key", "tls_first", "inbox_prefix"}
	eachVariant(t, func(t *testing.T, v variant) {
		for _, u := range v.objects.kind("Secret") {
			t.Errorf("%s is rendered", label(u))
		}
		for component, pod := range podsOf(t, v.objects) {
			for _, e := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers)[0].Env {
				if e.ValueFrom != nil || strings.Contains(e.Value, "@") {
					t.Errorf("%s: the environment has %+v", component, e)
				}
			}
		}
		for file, context := range contexts(t, v.objects) {
			for key, value := range context {
				text, _ := value.(string)
				if !slices.Contains(harmless, key) || strings.Contains(text, "@") {
					t.Errorf("%s has %s: %v", file, key, value)
				}
			}
		}
	})
}

// contexts returns the context files that the chart writes, by name.
func contexts(t testing.TB, all objects) map[string]map[string]any {
	t.Helper()
	files := map[string]map[string]any{}
	for _, u := range all.of("nats").kind("ConfigMap") {
		for name, text := range as[corev1.ConfigMap](t, u).Data {
			context := map[string]any{}
			if err := json.Unmarshal([]byte(text), &context); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			files[name] = context
		}
	}
	return files
}

// mount lays out the volume of a service's pods in a folder, as the kubelet does. Secrets are "name/key" to content. The
// contexts then name the files of that folder.
func mount(t testing.TB, all objects, service string, secrets map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	pod := podsOf(t, all)[service].Spec
	if got := pod.Containers[0].VolumeMounts[0].MountPath; got != natsDir {
		t.Fatalf("the contexts are mounted at %s", got)
	}
	for _, source := range pod.Volumes[0].Projected.Sources {
		if source.ConfigMap != nil {
			for _, u := range all.of("nats").kind("ConfigMap") {
				for name, text := range as[corev1.ConfigMap](t, u).Data {
					write(t, filepath.Join(dir, name), strings.ReplaceAll(text, natsDir, dir))
				}
			}
			continue
		}
		for _, item := range source.Secret.Items {
			content, ok := secrets[path.Join(source.Secret.Name, item.Key)]
			if !ok {
				t.Fatalf("no Secret %s with key %s is expected", source.Secret.Name, item.Key)
			}
			write(t, filepath.Join(dir, item.Path), strings.ReplaceAll(content, natsDir, dir))
		}
	}
	return dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestConnections_ControlIsAsDataUnlessSet shows which Secret each file of either connection comes from.
func TestConnections_ControlIsAsDataUnlessSet(t *testing.T) {
	creds := []string{"--set", "nats.creds.secretName=data-user", "--set", "nats.tls.caSecretName=ca"}
	for _, c := range []struct {
		name        string
		options     []string
		data, contr string // file names to Secrets, in order
		url         string // of the control connection
	}{
		{"nothing set", nil, "", "none", ""},
		{"one user", creds, "ca=ca/ca.crt creds=data-user/nats.creds", "none", ""},
		{"another server", append(creds, "--set", "nats.control.url=tls://c:1"), "ca=ca/ca.crt creds=data-user/nats.creds", "ca=ca/ca.crt creds=data-user/nats.creds", "tls://c:1"},
		{"another user", append(creds, "--set", "nats.control.nkey.secretName=control-user"), "ca=ca/ca.crt creds=data-user/nats.creds", "ca=ca/ca.crt nkey=control-user/seed.nk", "nats://nats:4222"},
		{"another CA", append(creds, "--set", "nats.control.tls.caSecretName=other"), "ca=ca/ca.crt creds=data-user/nats.creds", "ca=other/ca.crt creds=data-user/nats.creds", "nats://nats:4222"},
		{"whole contexts", []string{"--set", "nats.contextSecret.secretName=d", "--set", "nats.control.contextSecret.secretName=c"}, "json=d/context.json", "json=c/context.json", ""},
		{"a whole one for control", append(creds, "--set", "nats.control.contextSecret.secretName=c"), "ca=ca/ca.crt creds=data-user/nats.creds", "json=c/context.json", ""},
	} {
		all := release{"harmony-fleet", "fleet"}.render(t, c.options...)
		pod := podsOf(t, all)["aggregator"].Spec
		if got := sources(pod, "data"); got != c.data {
			t.Errorf("%s: data takes %q, want %q", c.name, got, c.data)
		}
		got := sources(pod, "control")
		if _, own := env(pod.Containers[0])["FLEET_CONTROL_NATS_CONTEXT"]; !own {
			got = "none"
		}
		if got != c.contr {
			t.Errorf("%s: control takes %q, want %q", c.name, got, c.contr)
		}
		if url, _ := contexts(t, all)["control.json"]["url"].(string); url != c.url {
			t.Errorf("%s: control connects to %q, want %q", c.name, url, c.url)
		}
	}
}

// sources returns what a connection's files come from: "creds=secret/key …".
func sources(pod corev1.PodSpec, connection string) string {
	var all []string
	for _, source := range pod.Volumes[0].Projected.Sources {
		if source.Secret == nil {
			continue
		}
		for _, item := range source.Secret.Items {
			name, found := strings.CutPrefix(item.Path, connection)
			if found {
				all = append(all, strings.TrimLeft(name, "/.")+"="+source.Secret.Name+"/"+item.Key)
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
