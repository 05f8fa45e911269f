package lab

import (
	"fmt"
	"slices"
	"strings"
)

// Ability is something that a fault may need and not every stack has. Which fault is possible on a stack is
// known before anything is broken.
type Ability string

// What a stack may be able to do. Processes can be given signals, and their stores replaced, on any stack of this
// package.
const (
	Signals Ability = "processes that can be killed and paused"
	Store   Ability = "NATS servers that can be killed and whose files can be replaced"
	Proxies Ability = "connections that pass the test"
	OwnAPI  Ability = "apiserver of its own"
	Nodes   Ability = "cluster of NATS servers"
)

// Abilities returns what this stack can do.
func (s *Stack) Abilities() []Ability {
	all := []Ability{Signals, Store}
	if !s.direct {
		all = append(all, Proxies)
	}
	if s.Own != nil {
		all = append(all, OwnAPI)
	}
	if s.replicas > 1 {
		all = append(all, Nodes)
	}
	return all
}

// Able returns nil when the stack can do all of that, or an error that says what it lacks.
func (s *Stack) Able(needs []Ability) error {
	have := s.Abilities()
	var lacking []string
	for _, n := range needs {
		if !slices.Contains(have, n) {
			lacking = append(lacking, string(n))
		}
	}
	if len(lacking) > 0 {
		return fmt.Errorf("this stack of %s has no %s", stackKind, strings.Join(lacking, ", no "))
	}
	return nil
}
