package main

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"harmony.dev/fleet"
)

// parseSelector reads a selector as kubectl has it: "region=north,arch in (arm64,amd64),!legacy".
func parseSelector(text string) (fleet.Selector, error) {
	parsed, err := labels.Parse(text)
	if err != nil {
		return fleet.Selector{}, usagef("--selector %q: %v", text, err)
	}
	var s fleet.Selector
	requirements, _ := parsed.Requirements()
	for _, r := range requirements {
		op, ok := operators[r.Operator()]
		if !ok {
			return fleet.Selector{}, usagef("--selector %q: operator %q is not supported; use =, !=, in, notin, a key or !key", text, r.Operator())
		}
		s.MatchExpressions = append(s.MatchExpressions, fleet.SelectorRequirement{
			Key: r.Key(), Operator: op, Values: slices.Sorted(slices.Values(r.ValuesUnsorted())),
		})
	}
	return s, nil
}

var operators = map[selection.Operator]string{
	selection.Equals: "In", selection.DoubleEquals: "In", selection.In: "In",
	selection.NotEquals: "NotIn", selection.NotIn: "NotIn",
	selection.Exists: "Exists", selection.DoesNotExist: "DoesNotExist",
}

// selectorText is a selector for a terminal.
func selectorText(s fleet.Selector) string { return printable(s.String()) }

func deviceFilter(selector, state, class, deployment string) (fleet.DevicesListRequest, error) {
	req := fleet.DevicesListRequest{Deployment: fleet.DeploymentName(deployment), Class: fleet.Class(strings.ToLower(class))}
	for _, known := range []fleet.DeviceState{"", fleet.DeviceFresh, fleet.DeviceStale, fleet.DeviceNeverSeen} {
		if strings.EqualFold(state, string(known)) {
			req.State, state = known, ""
		}
	}
	if state != "" {
		return req, usagef("unknown state %q: choose %s, %s or %s", state, fleet.DeviceFresh, fleet.DeviceStale, fleet.DeviceNeverSeen)
	}
	if err := req.Validate(); err != nil {
		return req, usagef("%v", err)
	}
	if selector == "" {
		return req, nil
	}
	s, err := parseSelector(selector)
	req.Selector = &s
	return req, err
}
