package chart

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/synadia-io/orbit.go/natscontext"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet/child"
	"harmony.dev/fleet/fleettest"
)

// TestConnections_ReachAServerThatAsksForEverything connects by the rendered contexts, with files in the place of Secrets,
// to a server that wants TLS first, a client certificate and one NKey for each connection.
func TestConnections_ReachAServerThatAsksForEverything(t *testing.T) {
	ca, server, client := certificates(t)
	data, dataKey := user(t)
	control, controlKey := user(t)
	port := lab.FreePort(t)
	startServer(t, port, fmt.Sprintf(`
		listen: "127.0.0.1:%d"
		tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true, handshake_first: true }
		authorization { users: [{nkey: %s}, {nkey: %s, permissions: {publish: ">", subscribe: "_INBOX_fleet.>"}}] }`,
		port, filepath.Join(server, "tls.crt"), filepath.Join(server, "tls.key"), filepath.Join(ca, "ca.crt"), dataKey, controlKey))

	all := release{"harmony-fleet", "fleet"}.render(t,
		"--set", fmt.Sprintf("nats.url=tls://localhost:%d", port), "--set", "nats.nkey.secretName=data", "--set", "nats.tls.first=true",
		"--set", "nats.tls.caSecretName=ca", "--set", "nats.tls.certSecretName=client",
		"--set", "nats.control.nkey.secretName=control", "--set", "nats.control.inboxPrefix=_INBOX_fleet",
	)
	dir := mount(t, all, "patcher", map[string]string{
		"data/seed.nk": data, "control/seed.nk": control, "ca/ca.crt": read(t, filepath.Join(ca, "ca.crt")),
		"client/tls.crt": read(t, filepath.Join(client, "tls.crt")), "client/tls.key": read(t, filepath.Join(client, "tls.key")),
	})
	for name, want := range map[string]string{"data": dataKey, "control": controlKey} {
		var nc *nats.Conn
		fleettest.Eventually(t, 20*time.Second, name+" connects", func() bool {
			var err error
			nc, _, err = natscontext.Connect(filepath.Join(dir, name+".json"))
			if err != nil {
				t.Log(err)
			}
			return err == nil
		})
		if got := nc.Opts.Nkey; got != want {
			t.Errorf("%s is user %s, want %s", name, got, want)
		}
		if inbox := nc.NewRespInbox(); name == "control" && inbox[:13] != "_INBOX_fleet." {
			t.Errorf("control gets answers at %s", inbox)
		}
		nc.Close()
	}
}

func startServer(t *testing.T, port int, config string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats.conf")
	write(t, path, config)
	log := &fleettest.Buffer{}
	p, err := child.Start(child.Spec{
		Name: "nats-server", Path: filepath.Join(lab.BinDir(t), "nats-server"), Args: []string{"-c", path}, Env: os.Environ(), Stdout: log, Stderr: log,
	})
	if err != nil {
		t.Fatalf("start nats-server ('make peers' builds it): %v", err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	fleettest.Eventually(t, 20*time.Second, "nats-server listens", func() bool {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// user returns the seed and the public key of an NKey user.
func user(t *testing.T) (seed, public string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	public, err = pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return string(secret), public
}

// certificates returns folders with ca.crt, and with tls.crt and tls.key of a server and a client.
func certificates(t *testing.T) (ca, server, client string) {
	t.Helper()
	ca, server, client = t.TempDir(), t.TempDir(), t.TempDir()
	key := privateKey(t)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	write(t, filepath.Join(ca, "ca.crt"), certificate(t, root, root, &key.PublicKey, key))
	for i, dir := range []string{server, client} {
		own := privateKey(t)
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i) + 2), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
			DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		write(t, filepath.Join(dir, "tls.crt"), certificate(t, leaf, root, &own.PublicKey, key))
		der, err := x509.MarshalPKCS8PrivateKey(own)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "tls.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	}
	return ca, server, client
}

func privateKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func certificate(t *testing.T, c, issuer *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
