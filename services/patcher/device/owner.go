package device

import "strings"

// LabelManager is the field manager under which reported labels are applied.
const LabelManager = "fleet-device-labels"

// Owned returns the labels of a Device resource that came from the device itself: those that
// [LabelManager] applied, whoever else set them too. It returns nil when there are none.
func Owned(resource map[string]any) map[string]string {
	mine, _ := owners(resource)
	return pick(labels(resource), func(key string) bool { return mine[key] })
}

// owners returns the keys of the labels that the label manager applied, and of those that anybody
// else set.
func owners(resource map[string]any) (mine, others map[string]bool) {
	mine, others = map[string]bool{}, map[string]bool{}
	fields, _ := object(resource, "metadata")["managedFields"].([]any)
	for _, f := range fields {
		entry, _ := f.(map[string]any)
		into := others
		if entry["manager"] == LabelManager && entry["operation"] == "Apply" {
			into = mine
		}
		for field := range object(entry, "fieldsV1", "f:metadata", "f:labels") {
			if key, ok := strings.CutPrefix(field, "f:"); ok {
				into[key] = true
			}
		}
	}
	return mine, others
}

func labels(resource map[string]any) map[string]string {
	all := map[string]string{}
	for key, v := range object(resource, "metadata", "labels") {
		if value, ok := v.(string); ok {
			all[key] = value
		}
	}
	return all
}

// object walks down nested objects; a missing or different one is an empty object.
func object(from map[string]any, path ...string) map[string]any {
	for _, name := range path {
		from, _ = from[name].(map[string]any)
	}
	return from
}

func pick(from map[string]string, keep func(key string) bool) map[string]string {
	var picked map[string]string
	for key, value := range from {
		if !keep(key) {
			continue
		}
		if picked == nil {
			picked = map[string]string{}
		}
		picked[key] = value
	}
	return picked
}
