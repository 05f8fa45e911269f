// Package pki keeps the certificates and keys of one data directory.
//
// One authority signs both the serving certificate and the admin's client certificate; a further key
// signs service account tokens. All are made once and kept, so credentials given out earlier stay
// good over a restart. Only the serving certificate is made anew, by the same authority, when the
// server is to be known by a name that the kept one lacks. A leaf near its end is made anew too.
//
// A key is written before its certificate: a file pair that a crash left incomplete is recognised
// by a missing or foreign certificate, and was never given to anybody.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"harmony.dev/devstack/kubeapi/internal/atomicfile"
)

const (
	authorityLife = 20 * 365 * 24 * time.Hour
	leafLife      = 10 * 365 * 24 * time.Hour
	renewBefore   = 30 * 24 * time.Hour
	// clockSkew lets a client whose clock is behind use a certificate made just now.
	clockSkew = time.Hour
)

// Files are paths of PEM files, each readable by the owner alone.
type Files struct {
	CACert, CAKey           string
	ServingCert, ServingKey string
	AdminCert, AdminKey     string // member of system:masters
	ServiceAccountKey       string // signs and verifies service account tokens
}

// Ensure loads what dir holds and makes what is missing. The serving certificate covers hosts, which
// are DNS names and IP addresses.
func Ensure(dir string, hosts []string, now time.Time) (*Files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the directory of the keys: %w", err)
	}
	files := &Files{
		CACert: filepath.Join(dir, "ca.crt"), CAKey: filepath.Join(dir, "ca.key"),
		ServingCert: filepath.Join(dir, "serving.crt"), ServingKey: filepath.Join(dir, "serving.key"),
		AdminCert: filepath.Join(dir, "admin.crt"), AdminKey: filepath.Join(dir, "admin.key"),
		ServiceAccountKey: filepath.Join(dir, "service-account.key"),
	}
	ca, err := ensureAuthority(files.CACert, files.CAKey, now)
	if err != nil {
		return nil, err
	}
	serving := x509.Certificate{
		Subject:     pkix.Name{CommonName: "kubeapi"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			serving.IPAddresses = append(serving.IPAddresses, ip)
		} else {
			serving.DNSNames = append(serving.DNSNames, host)
		}
	}
	if err := ca.ensureLeaf(files.ServingCert, files.ServingKey, serving, hosts, now); err != nil {
		return nil, err
	}
	admin := x509.Certificate{
		Subject:     pkix.Name{CommonName: "fleet-admin", Organization: []string{"system:masters"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if err := ca.ensureLeaf(files.AdminCert, files.AdminKey, admin, nil, now); err != nil {
		return nil, err
	}
	return files, ensureKey(files.ServiceAccountKey)
}

// authority is a certificate that signs others, with its key.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func ensureAuthority(certFile, keyFile string, now time.Time) (*authority, error) {
	switch ca, err := loadAuthority(certFile, keyFile); {
	case err == nil:
		return ca, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if _, err := os.Stat(certFile); err == nil {
		return nil, fmt.Errorf("loading the authority: %s has no key beside it; remove the directory to make new ones (old kubeconfigs then end)", certFile)
	}
	key, err := writeKey(keyFile)
	if err != nil {
		return nil, err
	}
	template := x509.Certificate{
		Subject:               pkix.Name{CommonName: "kubeapi-ca"},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	self := &authority{cert: &template, key: key}
	if err := self.sign(certFile, template, key); err != nil {
		return nil, err
	}
	return loadAuthority(certFile, keyFile)
}

func loadAuthority(certFile, keyFile string) (*authority, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("loading the authority: %w", err)
	}
	return &authority{cert: pair.Leaf, key: pair.PrivateKey.(crypto.Signer)}, nil
}

// ensureLeaf keeps a certificate that is this authority's, lasts, and covers the hosts.
func (ca *authority) ensureLeaf(certFile, keyFile string, template x509.Certificate, hosts []string, now time.Time) error {
	if pair, err := tls.LoadX509KeyPair(certFile, keyFile); err == nil && ca.vouches(pair.Leaf, hosts, now) {
		return nil
	}
	key, err := writeKey(keyFile)
	if err != nil {
		return err
	}
	template.NotBefore, template.NotAfter = now.Add(-clockSkew), now.Add(leafLife)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	return ca.sign(certFile, template, key)
}

func (ca *authority) vouches(leaf *x509.Certificate, hosts []string, now time.Time) bool {
	if leaf.CheckSignatureFrom(ca.cert) != nil || now.Before(leaf.NotBefore) || now.After(leaf.NotAfter.Add(-renewBefore)) {
		return false
	}
	for _, host := range hosts {
		if leaf.VerifyHostname(host) != nil {
			return false
		}
	}
	return true
}

// sign completes the template and writes the certificate of key.
func (ca *authority) sign(certFile string, template x509.Certificate, key crypto.Signer) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return fmt.Errorf("drawing a serial number: %w", err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, &template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return fmt.Errorf("signing %s: %w", certFile, err)
	}
	return atomicfile.Write(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// ensureKey keeps an existing key file as it is.
func ensureKey(keyFile string) error {
	_, err := os.Stat(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = writeKey(keyFile)
	}
	if err != nil {
		return fmt.Errorf("keeping the service account key: %w", err)
	}
	return nil
}

func writeKey(keyFile string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating %s: %w", keyFile, err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", keyFile, err)
	}
	return key, atomicfile.Write(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}
