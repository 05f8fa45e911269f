package apiserver

import (
	"context"
	"fmt"
	"net"
	"time"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	mutatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	validatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	"k8s.io/apiserver/pkg/features"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/kubernetes/pkg/controlplane/apiserver/options"
	"k8s.io/kubernetes/pkg/kubeapiserver/authorizer/modes"
	kubeoptions "k8s.io/kubernetes/pkg/kubeapiserver/options"
)

// issuer of service account tokens. It is part of every token, so it must not change with the address.
const issuer = "https://kubernetes.default.svc"

// watchGrace is what a watch is given to end by itself when the server stops.
const watchGrace = time.Second

// newOptions are kube-apiserver's options, as its command line would set them.
func newOptions(ctx context.Context, cfg Config) (options.CompletedOptions, error) {
	// what several API servers need to know of each other, such as a lease that each renews for ever
	off := map[string]bool{
		string(features.APIServerIdentity):                   false,
		string(features.UnknownVersionInteroperabilityProxy): false,
	}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(off); err != nil {
		return options.CompletedOptions{}, fmt.Errorf("setting feature gates: %w", err)
	}
	o := options.NewOptions()
	if err := o.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return options.CompletedOptions{}, fmt.Errorf("setting the emulated version: %w", err)
	}

	o.Etcd.StorageConfig.Transport.ServerList = []string{cfg.Store}

	addr := cfg.Listener.Addr().(*net.TCPAddr)
	o.SecureServing.Listener = cfg.Listener
	o.SecureServing.BindAddress, o.SecureServing.BindPort = addr.IP, addr.Port
	o.SecureServing.ServerCert.CertKey.CertFile = cfg.Keys.ServingCert
	o.SecureServing.ServerCert.CertKey.KeyFile = cfg.Keys.ServingKey
	// unset, it is looked for among the network interfaces, and a machine without a network has none
	o.GenericServerRunOptions.AdvertiseAddress = addr.IP
	if addr.IP.IsUnspecified() {
		o.GenericServerRunOptions.AdvertiseAddress = net.IPv4(127, 0, 0, 1)
	}
	o.GenericServerRunOptions.ShutdownWatchTerminationGracePeriod = watchGrace

	o.Authentication.ClientCert.ClientCA = cfg.Keys.CACert
	o.Authentication.ServiceAccounts.Issuers = []string{issuer}
	o.Authentication.ServiceAccounts.KeyFiles = []string{cfg.Keys.ServiceAccountKey}
	o.Authentication.ServiceAccounts.OptionalTokenGetter = newTokenGetter
	o.ServiceAccountSigningKeyFile = cfg.Keys.ServiceAccountKey
	o.Authorization.Modes = []string{modes.ModeRBAC}
	o.Admission.GenericAdmission.DefaultOffPlugins = sets.New(kubeoptions.AllOrderedPlugins...).Delete(
		lifecycle.PluginName,
		mutatingpolicy.PluginName,
		validatingpolicy.PluginName,
		mutatingwebhook.PluginName,
		validatingwebhook.PluginName,
	)

	o.Features.EnablePriorityAndFairness = false
	o.Features.EnableProfiling = false
	o.Metrics = nil // the defaults are good, and applying them complains of an allow list not given

	completed, err := o.Complete(ctx, nil, nil)
	if err != nil {
		return completed, fmt.Errorf("completing the API server's options: %w", err)
	}
	if err := utilerrors.NewAggregate(completed.Validate()); err != nil {
		return completed, fmt.Errorf("validating the API server's options: %w", err)
	}
	return completed, nil
}
