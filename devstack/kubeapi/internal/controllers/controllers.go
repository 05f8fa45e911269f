// Package controllers runs what an API is incomplete without: deleted namespaces are emptied and go,
// objects go with their owners, and roles such as view gather the rules of the roles they aggregate.
// They are Kubernetes' own controllers, without the manager they usually live in.
package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace"
)

const (
	workers = 4
	// resourceSync is how often new custom resources are looked for, and so how long after its
	// definition a resource's owner references may go unseen. The stock manager takes 30 s.
	resourceSync = 5 * time.Second
	// namespaceResync is the stock manager's.
	namespaceResync = 5 * time.Minute
	initialSync     = 30 * time.Second
)

// Run works until ctx ends.
func Run(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making the controllers' client: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making the controllers' metadata client: %w", err)
	}
	typed := informers.NewSharedInformerFactory(client, 0)
	untyped := metadatainformer.NewSharedInformerFactory(meta, 0)
	informersStarted := make(chan struct{})

	namespaces := namespace.NewNamespaceController(ctx, client, meta,
		client.Discovery().ServerPreferredNamespacedResources,
		typed.Core().V1().Namespaces(), namespaceResync, corev1.FinalizerKubernetes)
	roles := clusterroleaggregation.NewClusterRoleAggregation(typed.Rbac().V1().ClusterRoles(), client.RbacV1())
	garbage, err := garbagecollector.NewGarbageCollector(ctx, client, meta,
		restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery())),
		garbagecollector.DefaultIgnoredResources(),
		informerfactory.NewInformerFactory(typed, untyped), informersStarted)
	if err != nil {
		return fmt.Errorf("making the garbage collector: %w", err)
	}

	typed.Start(ctx.Done())
	untyped.Start(ctx.Done())
	close(informersStarted)

	var wg sync.WaitGroup
	wg.Go(func() { namespaces.Run(ctx, workers) })
	wg.Go(func() { roles.Run(ctx, workers) })
	wg.Go(func() { garbage.Run(ctx, workers, initialSync) })
	wg.Go(func() { garbage.Sync(ctx, client.Discovery(), resourceSync) })
	wg.Wait()
	return nil
}
