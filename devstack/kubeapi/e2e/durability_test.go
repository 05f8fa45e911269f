package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
)

// The child is killed in the middle of writes. What it had acknowledged is there after a restart, and
// a client made before the kill, with the old certificates, goes on.
func TestSIGKILL_LosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	const (
		writers     = 4
		killAfter   = 200 // acknowledged writes
		description = "description"
	)
	dataDir := t.TempDir()
	first := start(t, dataDir)
	client := first.dynamic(t)
	resource := client.Resource(configMaps).Namespace("fleet")
	before := credentials(t, first)

	var (
		mu           sync.Mutex
		acknowledged = map[string]string{} // name → uid
		enough       = make(chan struct{})
		wg           sync.WaitGroup
	)
	for writer := range writers {
		wg.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("c-%d-%d", writer, i)
				created, err := resource.Create(t.Context(), newConfigMap(name, map[string]any{description: name}), metav1.CreateOptions{})
				if err != nil {
					return // the server is gone
				}
				mu.Lock()
				acknowledged[name] = string(created.GetUID())
				if len(acknowledged) == killAfter {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-enough:
	case <-first.exited:
	}
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.exited
	wg.Wait()

	second := start(t, dataDir, "--port", first.port(t))
	if second.ready.URL != first.ready.URL {
		t.Errorf("URL = %s, want %s as before", second.ready.URL, first.ready.URL)
	}
	for file, content := range credentials(t, second) {
		if !bytes.Equal(content, before[file]) {
			t.Errorf("%s is not as before the kill", file)
		}
	}
	found := listUIDs(t, resource)
	for name, uid := range acknowledged {
		if found[name] != uid {
			t.Errorf("%s has uid %q, want %q", name, found[name], uid)
		}
	}
	if len(acknowledged) < killAfter {
		t.Errorf("%d writes were acknowledged before the kill, want at least %d", len(acknowledged), killAfter)
	}
	create(t, resource, newConfigMap("afterwards", nil))
}

func listUIDs(t *testing.T, resource dynamic.ResourceInterface) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	list, err := resource.List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatalf("listing with the old client: %v", err)
	}
	uids := map[string]string{}
	for _, item := range list.Items {
		uids[item.GetName()] = string(item.GetUID())
	}
	return uids
}

// credentials are the contents of all files that a client may depend on.
func credentials(t *testing.T, s *server) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dataDir, "pki", "*"))
	if err != nil {
		t.Fatal(err)
	}
	contents := map[string][]byte{}
	for _, file := range append(files, s.kubeconfig) {
		if contents[file], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return contents
}
