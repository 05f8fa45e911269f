// Package kubeconfig writes the admin's way in: one cluster, one user, one context, all named fleet.
// Certificates are embedded, so the file works wherever it is copied to.
package kubeconfig

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"harmony.dev/devstack/kubeapi/internal/atomicfile"
)

// name of the context, the cluster and the user
const name = "fleet"

// Access is what a client needs.
type Access struct {
	Server    string // URL
	Namespace string // of the context
	CAFile    string
	CertFile  string
	KeyFile   string
}

// Write puts the kubeconfig at path, replacing it in one step; only its owner can read it.
func Write(path string, access Access) error {
	cluster, user := api.NewCluster(), api.NewAuthInfo()
	cluster.Server = access.Server
	for _, part := range []struct {
		file string
		to   *[]byte
	}{
		{access.CAFile, &cluster.CertificateAuthorityData},
		{access.CertFile, &user.ClientCertificateData},
		{access.KeyFile, &user.ClientKeyData},
	} {
		data, err := os.ReadFile(part.file)
		if err != nil {
			return fmt.Errorf("reading the credentials for the kubeconfig: %w", err)
		}
		*part.to = data
	}
	context := api.NewContext()
	context.Cluster, context.AuthInfo, context.Namespace = name, name, access.Namespace

	config := api.NewConfig()
	config.Clusters[name], config.AuthInfos[name], config.Contexts[name] = cluster, user, context
	config.CurrentContext = name
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encoding the kubeconfig: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("creating the directory of the kubeconfig: %w", err)
	}
	return atomicfile.Write(path, data)
}
