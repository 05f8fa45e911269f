package pki

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestEnsure_MakesCredentialsThatVerify(t *testing.T) {
	files := ensure(t, t.TempDir(), now, "localhost", "127.0.0.1")
	roots := rootsOf(t, files)

	serving := leafOf(t, files.ServingCert, files.ServingKey)
	for _, host := range []string{"localhost", "127.0.0.1"} {
		if _, err := serving.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now}); err != nil {
			t.Errorf("serving certificate for %s: %v", host, err)
		}
	}
	admin := leafOf(t, files.AdminCert, files.AdminKey)
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if _, err := admin.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: usage, CurrentTime: now}); err != nil {
		t.Errorf("admin certificate: %v", err)
	}
	if !slices.Equal(admin.Subject.Organization, []string{"system:masters"}) {
		t.Errorf("admin's groups = %v, want system:masters", admin.Subject.Organization)
	}
	if _, err := serving.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: usage, CurrentTime: now}); err == nil {
		t.Error("the serving certificate is good for a client as well")
	}
}

func TestEnsure_KeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	ensure(t, dir, now, "localhost")
	before := contents(t, dir)
	ensure(t, dir, now.Add(24*time.Hour), "localhost")
	if changed := differing(before, contents(t, dir)); len(changed) > 0 {
		t.Errorf("changed: %v, want none", changed)
	}
}

func TestEnsure_NewHostChangesTheServingCertificateOnly(t *testing.T) {
	dir := t.TempDir()
	ensure(t, dir, now, "localhost")
	before := contents(t, dir)
	files := ensure(t, dir, now, "localhost", "kubeapi")
	if changed := differing(before, contents(t, dir)); !slices.Equal(changed, []string{"serving.crt", "serving.key"}) {
		t.Errorf("changed: %v, want the serving pair", changed)
	}
	serving := leafOf(t, files.ServingCert, files.ServingKey)
	if _, err := serving.Verify(x509.VerifyOptions{Roots: rootsOf(t, files), DNSName: "kubeapi", CurrentTime: now}); err != nil {
		t.Errorf("serving certificate for the new host: %v", err)
	}
}

func TestEnsure_RenewsLeavesNearTheirEnd(t *testing.T) {
	dir := t.TempDir()
	ensure(t, dir, now, "localhost")
	before := contents(t, dir)
	ensure(t, dir, now.Add(leafLife-renewBefore+time.Hour), "localhost")
	want := []string{"admin.crt", "admin.key", "serving.crt", "serving.key"}
	if changed := differing(before, contents(t, dir)); !slices.Equal(changed, want) {
		t.Errorf("changed: %v, want %v", changed, want)
	}
}

func TestEnsure_RepairsAPairThatACrashLeftIncomplete(t *testing.T) {
	for _, lost := range []string{"admin.crt", "serving.key", "service-account.key"} {
		dir := t.TempDir()
		ensure(t, dir, now, "localhost")
		if err := os.Remove(filepath.Join(dir, lost)); err != nil {
			t.Fatal(err)
		}
		files := ensure(t, dir, now, "localhost")
		leafOf(t, files.AdminCert, files.AdminKey)
		leafOf(t, files.ServingCert, files.ServingKey)
		if _, err := os.Stat(files.ServiceAccountKey); err != nil {
			t.Errorf("without %s: %v", lost, err)
		}
	}
}

func TestEnsure_AuthorityKeyAloneIsAnUnfinishedStart(t *testing.T) {
	dir := t.TempDir()
	if _, err := writeKey(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	files := ensure(t, dir, now, "localhost")
	leafOf(t, files.CACert, files.CAKey)
}

func TestEnsure_RefusesToReplaceAnAuthorityWithoutItsKey(t *testing.T) {
	dir := t.TempDir()
	files := ensure(t, dir, now, "localhost")
	if err := os.Remove(files.CAKey); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(dir, []string{"localhost"}, now); err == nil || !strings.Contains(err.Error(), "ca.crt has no key") {
		t.Errorf("got error %v, want a refusal", err)
	}
}

func ensure(t *testing.T, dir string, at time.Time, hosts ...string) *Files {
	t.Helper()
	files, err := Ensure(dir, hosts, at)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func leafOf(t *testing.T, certFile, keyFile string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func rootsOf(t *testing.T, files *Files) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(files.CACert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("the authority's file holds no certificate")
	}
	return roots
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(data)
	}
	return files
}

func differing(a, b map[string]string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if a[name] != b[name] {
			names = append(names, name)
		}
	}
	return names
}
