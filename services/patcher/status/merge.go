package status

import "reflect"

// difference returns the merge patch (RFC 7396) that turns one document into another, nil when they
// are equal. The documents hold no nulls: in a merge patch null means remove.
func difference(from, to map[string]any) map[string]any {
	patch := map[string]any{}
	for name := range from {
		if _, kept := to[name]; !kept {
			patch[name] = nil
		}
	}
	for name, wanted := range to {
		stored, found := from[name]
		if found && reflect.DeepEqual(stored, wanted) {
			continue
		}
		patch[name] = wanted
		storedObject, a := stored.(map[string]any)
		wantedObject, b := wanted.(map[string]any)
		if a && b {
			patch[name] = difference(storedObject, wantedObject)
		}
	}
	if len(patch) == 0 {
		return nil
	}
	return patch
}
