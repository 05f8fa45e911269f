package lab

import (
	"testing"

	"harmony.dev/fleet/fleettest/kubetest"
)

func TestStack_Able(t *testing.T) {
	for name, c := range map[string]struct {
		stack *Stack
		needs []Ability
		want  string
	}{
		"nothing":              {&Stack{direct: true}, nil, ""},
		"signals anywhere":     {&Stack{direct: true}, []Ability{Signals, Store}, ""},
		"proxies":              {&Stack{}, []Ability{Proxies}, ""},
		"none where measured":  {&Stack{direct: true}, []Ability{Signals, Proxies}, "this stack of processes has no connections that pass the test"},
		"an apiserver, shared": {&Stack{}, []Ability{OwnAPI, Nodes}, "this stack of processes has no apiserver of its own, no cluster of NATS servers"},
		"an apiserver, own":    {&Stack{Own: &kubetest.Own{}}, []Ability{OwnAPI}, ""},
		"one node":             {&Stack{replicas: 1}, []Ability{Nodes}, "this stack of processes has no cluster of NATS servers"},
		"three nodes":          {&Stack{replicas: 3}, []Ability{Nodes}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := c.stack.Able(c.needs); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
