package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"harmony.dev/fleet"
)

// Deployment returns the merge patch that turns the stored status of a Deployment into the wanted one,
// nil when there is nothing to change. A condition whose status is the stored one keeps its
// lastTransitionTime, any other gets now, in whole seconds.
func Deployment(stored map[string]any, wanted fleet.DeploymentStatus, now time.Time) (map[string]any, error) {
	wanted.Conditions = stamp(storedConditions(stored), wanted.Conditions, now)
	return patch(stored, wanted)
}

// Observed returns the observedGeneration of a stored status, 0 when there is none.
func Observed(stored map[string]any) int64 {
	observed, _ := stored["observedGeneration"].(int64)
	return observed
}

// Device returns the merge patch that turns the stored status of a Device into the wanted one, nil when
// there is nothing to change.
func Device(stored map[string]any, wanted fleet.DeviceStatus) (map[string]any, error) {
	return patch(stored, wanted)
}

func patch(stored map[string]any, wanted any) (map[string]any, error) {
	from, err := document(stored)
	if err != nil {
		return nil, fmt.Errorf("read the stored status: %w", err)
	}
	to, err := document(wanted)
	if err != nil {
		return nil, fmt.Errorf("encode the wanted status: %w", err)
	}
	return difference(from, to), nil
}

// document brings a value into the one form in which documents are compared: objects, arrays, strings
// and the text of numbers.
func document(v any) (map[string]any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var doc map[string]any
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	return doc, nil
}
