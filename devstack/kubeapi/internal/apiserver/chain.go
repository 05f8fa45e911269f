package apiserver

import (
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/filters"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/notfoundhandler"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/kubernetes"
	aggregator "k8s.io/kube-aggregator/pkg/apiserver"
	aggregatorscheme "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	controlplane "k8s.io/kubernetes/pkg/controlplane/apiserver"
	"k8s.io/kubernetes/pkg/controlplane/apiserver/options"
	"k8s.io/kubernetes/pkg/generated/openapi"
)

// chain holds the configurations of the three servers, each of which hands on what it does not serve:
// aggregator (discovery) → kube (the built-in groups) → extensions (custom resources) → not found.
type chain struct {
	kube       *controlplane.Config
	extensions *extensions.Config
	aggregator *aggregator.Config
}

func newChain(opts options.CompletedOptions) (*chain, error) {
	generic, informers, storage, err := controlplane.BuildGenericConfig(
		opts,
		[]*runtime.Scheme{legacyscheme.Scheme, extensions.Scheme, aggregatorscheme.Scheme},
		enabledResources(),
		openapi.GetOpenAPIDefinitions,
		nil,
	)
	if err != nil {
		return nil, fmt.Errorf("configuring the generic API server: %w", err)
	}

	services := webhook.NewDefaultServiceResolver()
	kube, admission, err := controlplane.CreateConfig(opts, generic, informers, nil, storage, services, nil)
	if err != nil {
		return nil, fmt.Errorf("configuring the built-in groups: %w", err)
	}

	authInfo := webhook.NewDefaultAuthenticationInfoResolverWrapper(kube.ProxyTransport, kube.Generic.EgressSelector, kube.Generic.LoopbackClientConfig, kube.Generic.TracerProvider)
	const servers = 1
	ext, err := controlplane.CreateAPIExtensionsConfig(*kube.Generic, kube.VersionedInformers, admission, opts, servers, services, authInfo)
	if err != nil {
		return nil, fmt.Errorf("configuring custom resources: %w", err)
	}

	agg, err := controlplane.CreateAggregatorConfig(*kube.Generic, opts, kube.VersionedInformers, services, kube.ProxyTransport, kube.PeerProxy, admission)
	if err != nil {
		return nil, fmt.Errorf("configuring the aggregator: %w", err)
	}
	// there is no API server to forward to
	agg.ExtraConfig.DisableRemoteAvailableConditionController = true
	return &chain{kube: kube, extensions: ext, aggregator: agg}, nil
}

// build makes the servers and returns the first of the chain.
func (c *chain) build() (*aggregator.APIAggregator, error) {
	kubeConfig, extConfig, aggConfig := c.kube.Complete(), c.extensions.Complete(), c.aggregator.Complete()

	notFound := notfoundhandler.New(c.kube.Generic.Serializer, filters.NoMuxAndDiscoveryIncompleteKey)
	ext, err := extConfig.New(genericapiserver.NewEmptyDelegateWithCustomHandler(notFound))
	if err != nil {
		return nil, fmt.Errorf("making the server of custom resources: %w", err)
	}

	kube, err := kubeConfig.New("kubeapi", ext.GenericAPIServer)
	if err != nil {
		return nil, fmt.Errorf("making the server of the built-in groups: %w", err)
	}
	client, err := kubernetes.NewForConfig(c.kube.Generic.LoopbackClientConfig)
	if err != nil {
		return nil, fmt.Errorf("making the loopback client: %w", err)
	}
	providers, err := kubeConfig.GenericStorageProviders(client.Discovery())
	if err != nil {
		return nil, fmt.Errorf("making the storage of the built-in groups: %w", err)
	}
	if err := kube.InstallAPIs(providers...); err != nil {
		return nil, fmt.Errorf("installing the built-in groups: %w", err)
	}

	crds := ext.Informers.Apiextensions().V1().CustomResourceDefinitions()
	crdsServed := c.extensions.GenericConfig.MergedResourceConfig.ResourceEnabled(apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions"))
	first, err := controlplane.CreateAggregatorServer(aggConfig, kube.GenericAPIServer, crds, crdsServed, controlplane.DefaultGenericAPIServicePriorities())
	if err != nil {
		return nil, fmt.Errorf("making the aggregator: %w", err)
	}
	return first, nil
}
