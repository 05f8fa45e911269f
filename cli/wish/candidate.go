package wish

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	strictjson "sigs.k8s.io/json"

	"harmony.dev/fleet"
	"harmony.dev/fleet/selector"
)

// What the definition of the kind allows of a selector beside what selectors are.
const (
	maxRequirements = 64
	maxValues       = 1000
)

// resource is a Deployment as the API takes it.
type resource struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            struct {
		TargetSelector *fleet.Selector `json:"targetSelector"`
		Score          *fleet.Score    `json:"score"`
	} `json:"spec"`
	Status json.RawMessage `json:"status"` // not the user's to write: the API leaves it out
}

func candidate(doc []byte, at *lines) (*fleet.Candidate, error) {
	var r resource
	strict, err := strictjson.UnmarshalStrict(doc, &r)
	if err != nil {
		return nil, told(err)
	}
	if len(strict) > 0 {
		return nil, at.place(strict)
	}
	switch {
	case r.Metadata.Name == "":
		return nil, errors.New("metadata.name is missing")
	case r.Spec.TargetSelector == nil:
		return nil, errors.New("spec.targetSelector is missing; {} selects every device")
	case r.Spec.Score == nil:
		return nil, errors.New("spec.score is missing")
	}
	c := &fleet.Candidate{TargetSelector: *r.Spec.TargetSelector, Score: *r.Spec.Score}
	if c.Score.Data, err = asStored(c.Score.Data); err != nil {
		return nil, err
	}
	if err := validate(fleet.DeploymentName(r.Metadata.Name), *c); err != nil {
		return nil, errors.New(fleet.InvalidText(err))
	}
	return c, nil
}

// validate judges as the API and the reconciler do.
func validate(name fleet.DeploymentName, c fleet.Candidate) error {
	if err := name.Validate(); err != nil {
		return err
	}
	s := c.TargetSelector
	tooMany := func(e fleet.SelectorRequirement) bool { return len(e.Values) > maxValues }
	switch {
	case len(s.MatchLabels) > maxRequirements || len(s.MatchExpressions) > maxRequirements:
		return fmt.Errorf("spec.targetSelector has more than %d labels or expressions", maxRequirements)
	case slices.ContainsFunc(s.MatchExpressions, tooMany):
		return fmt.Errorf("spec.targetSelector has an expression with more than %d values", maxValues)
	}
	if _, err := selector.Compile(s); err != nil {
		return fmt.Errorf("spec.targetSelector: %w", err)
	}
	if err := c.Score.Validate(); err != nil {
		return fmt.Errorf("spec.score: %w", err)
	}
	return nil
}

// asStored spells data as the API gives it back: 1.0 is 1 there. Other text for the same number would look like a change.
func asStored(data json.RawMessage) (json.RawMessage, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var v any
	if err := utiljson.Unmarshal(data, &v); err != nil {
		return nil, fmt.Errorf("spec.score.data: %w", err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("spec.score.data: %w", err)
	}
	return b, nil
}
