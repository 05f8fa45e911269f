package kube

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"harmony.dev/fleet"
)

// Kind is one of the custom resources.
type Kind struct {
	Name     string // "Deployment"
	Resource string // "deployments"
}

// The kinds.
var (
	Deployments = Kind{fleet.KindDeployment, fleet.ResourceDeployments}
	Devices     = Kind{fleet.KindDevice, fleet.ResourceDevices}
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{Deployments, Devices} }

// KindNamed returns the kind of that name.
func KindNamed(name string) (Kind, error) {
	for _, k := range Kinds() {
		if k.Name == name {
			return k, nil
		}
	}
	return Kind{}, fmt.Errorf("%w: %.40q is not %s or %s", fleet.ErrInvalid, name, fleet.KindDeployment, fleet.KindDevice)
}

// APIVersion is that of the kinds: "fleet.harmony.dev/v1alpha1".
const APIVersion = fleet.Group + "/" + fleet.Version

func (k Kind) resource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: fleet.Group, Version: fleet.Version, Resource: k.Resource}
}

// crd returns the name of the kind's CustomResourceDefinition: "deployments.fleet.harmony.dev".
func (k Kind) crd() string { return k.Resource + "." + fleet.Group }
