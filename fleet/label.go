package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Selector is a Kubernetes label selector over the labels of Devices: all of MatchLabels and all of
// MatchExpressions must hold. The empty selector matches every device.
type Selector struct {
	MatchLabels      map[string]string     `json:"matchLabels,omitempty"`
	MatchExpressions []SelectorRequirement `json:"matchExpressions,omitempty"`
}

// SelectorRequirement is one expression of a [Selector]. Operator is In, NotIn, Exists or DoesNotExist.
type SelectorRequirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values,omitempty"`
}

// String writes the selector the way kubectl prints one: "region=north,arch in (arm64,amd64),!legacy". The empty one is
// "<every device>".
func (s Selector) String() string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		parts = append(parts, k+"="+s.MatchLabels[k])
	}
	for _, e := range s.MatchExpressions {
		values := "(" + strings.Join(e.Values, ",") + ")"
		switch e.Operator {
		case "In":
			parts = append(parts, e.Key+" in "+values)
		case "NotIn":
			parts = append(parts, e.Key+" notin "+values)
		case "Exists":
			parts = append(parts, e.Key)
		default:
			parts = append(parts, "!"+e.Key)
		}
	}
	if len(parts) == 0 {
		return "<every device>"
	}
	return strings.Join(parts, ",")
}

// ValidateLabel checks a label's key and value against the Kubernetes syntax: an optional DNS
// subdomain (at most 253 bytes) and '/', then a name of at most 63 bytes; a value of at most 63 bytes,
// which may be empty. Name and value are letters, digits, '-', '_' and '.', the last three in between only.
func ValidateLabel(key, value string) error {
	prefix, name, hasPrefix := strings.Cut(key, "/")
	if !hasPrefix {
		name = key
	}
	if hasPrefix && !isSubdomain(prefix) || !isQualified(name) {
		return fmt.Errorf("%w: %.80q is no label key: want [subdomain/]name of letters, digits, '-', '_' and '.', at most %d bytes", ErrInvalid, key, MaxNameLength)
	}
	if value != "" && !isQualified(value) {
		return fmt.Errorf("%w: %.80q is no value for label %s: want letters, digits, '-', '_' and '.', at most %d bytes", ErrInvalid, value, key, MaxNameLength)
	}
	return nil
}

func isSubdomain(s string) bool {
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

func isQualified(s string) bool {
	if len(s) == 0 || len(s) > MaxNameLength {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		inner := c == '-' || c == '_' || c == '.'
		if !alnum && (!inner || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return true
}
