package device

import "maps"

// Labels returns what the label manager has to apply to a Device resource so that it carries the
// reported labels, and whether that differs from what it applied before. What somebody else set is
// never part of it. Nil means to apply no label at all.
func Labels(resource map[string]any, reported map[string]string) (apply map[string]string, changed bool) {
	mine, others := owners(resource)
	present := labels(resource)
	apply = pick(reported, func(key string) bool {
		_, taken := present[key]
		return !others[key] && (!taken || mine[key])
	})
	applied := pick(present, func(key string) bool { return mine[key] })
	return apply, !maps.Equal(apply, applied)
}
