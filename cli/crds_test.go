package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"harmony.dev/fleet/fleettest/kubetest"
)

// As docker-compose.yml does: the kubeconfig says 127.0.0.1, and the container knows the API server by another name.
func TestCRDs_ByAnotherName(t *testing.T) {
	kube := kubetest.KubeAPI(t)
	server := strings.Replace(kube.URL, "127.0.0.1", "localhost", 1)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	for range 2 {
		code, stdout, stderr := invoke(t.Context(), "crds", "--dir", "../deploy/crds", "--kubeconfig", kube.Kubeconfig,
			"--server", server, "--write-kubeconfig", file, "--create-namespace", "harbour")
		if code != 0 || strings.Count(stdout, "is served") != 2 {
			t.Fatalf("exit %d, %s%s", code, stdout, stderr)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kubeconfig has credentials, and is %v (%v)", info, err)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), server) || strings.Contains(string(text), kube.URL) {
		t.Errorf("it does not lead to %s alone (%v)", server, err)
	}
	written, err := kubetest.Connect(server, file)
	if err != nil {
		t.Fatal(err)
	}
	namespaces := written.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	if _, err := namespaces.Get(t.Context(), "harbour", metav1.GetOptions{}); err != nil {
		t.Errorf("by the written kubeconfig: %v", err)
	}
}

func TestCRDs_UsageOfAnotherName(t *testing.T) {
	for args, want := range map[string]string{
		"crds --dir ../deploy/crds --server https://k3s:6443":                           "go together",
		"crds --dir ../deploy/crds --write-kubeconfig /tmp/x":                           "go together",
		"crds --dir ../deploy/crds --server https://k3s:6443 --write-kubeconfig /tmp/x": "--kubeconfig",
		"crds --dir ../deploy/crds --create-namespace Not_A_Name":                       "Not_A_Name",
		"crds --dir ../deploy/crds --kubeconfig /nowhere/k --timeout 1s":                "not within 1s",
	} {
		if code, _, stderr := invoke(t.Context(), strings.Fields(args)...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
}
