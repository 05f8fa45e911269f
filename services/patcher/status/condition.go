package status

import (
	"encoding/json"
	"time"

	"harmony.dev/fleet"
)

// storedConditions reads the conditions of a stored status. What cannot be read counts as absent: it
// is about to be replaced.
func storedConditions(stored map[string]any) []fleet.Condition {
	list, _ := stored["conditions"].([]any)
	conditions := make([]fleet.Condition, 0, len(list))
	for _, item := range list {
		b, err := json.Marshal(item)
		if err != nil {
			continue
		}
		var c fleet.Condition
		if json.Unmarshal(b, &c) == nil {
			conditions = append(conditions, c)
		}
	}
	return conditions
}

// stamp returns the wanted conditions with the time of their last transition: that of the stored one
// while its status is the same, else now.
func stamp(stored, wanted []fleet.Condition, now time.Time) []fleet.Condition {
	now = now.UTC().Truncate(time.Second)
	stamped := make([]fleet.Condition, len(wanted))
	for i, c := range wanted {
		c.LastTransitionTime = &now
		for _, s := range stored {
			if s.Type == c.Type && s.Status == c.Status && s.LastTransitionTime != nil {
				c.LastTransitionTime = s.LastTransitionTime
			}
		}
		stamped[i] = c
	}
	return stamped
}
