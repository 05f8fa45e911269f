package mirror

import "slices"

// metadata is the part of a resource's metadata that the mirror depends on.
type metadata struct {
	Name       string
	UID        string
	Generation int64
	Deleting   bool
	Finalizers []string
	Labels     map[string]string
}

// metadataOf reads what the apiserver guarantees for every resource; there is no malformed metadata.
func metadataOf(resource map[string]any) metadata {
	from, _ := resource["metadata"].(map[string]any)
	var m metadata
	m.Name, _ = from["name"].(string)
	m.UID, _ = from["uid"].(string)
	m.Generation, _ = from["generation"].(int64)
	_, m.Deleting = from["deletionTimestamp"].(string)
	finalizers, _ := from["finalizers"].([]any)
	for _, f := range finalizers {
		if name, ok := f.(string); ok {
			m.Finalizers = append(m.Finalizers, name)
		}
	}
	labels, _ := from["labels"].(map[string]any)
	for key, v := range labels {
		if value, ok := v.(string); ok {
			if m.Labels == nil {
				m.Labels = make(map[string]string, len(labels))
			}
			m.Labels[key] = value
		}
	}
	return m
}

// missing returns those of the finalizers that have to be added before the resource is mirrored: none
// once it is being deleted, when the apiserver allows no new ones.
func (m metadata) missing(finalizers []string) []string {
	if m.Deleting {
		return nil
	}
	var missing []string
	for _, f := range finalizers {
		if !slices.Contains(m.Finalizers, f) {
			missing = append(missing, f)
		}
	}
	return missing
}
