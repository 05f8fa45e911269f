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
	Config  Ability = "NATS servers that can be given another configuration"
	Cuts    Ability = "connections that can be cut"
	Proxies Ability = "connections that pass the test"
	OwnAPI  Ability = "apiserver of its own"
	Nodes   Ability = "cluster of NATS servers"
)

// OnlyProcesses are the abilities that a stack of containers never has: its connections do not pass the test, and
// the configuration of its servers is the shipped one.
func OnlyProcesses() []Ability { return []Ability{Config, Proxies} }

// Abilities returns what this stack can do.
func (s *Stack) Abilities() []Ability {
	all := []Ability{Signals, Store}
	switch {
	case s.project != nil:
		all = append(all, Cuts)
	case s.direct:
		all = append(all, Config)
	default:
		all = append(all, Config, Cuts, Proxies)
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
		return fmt.Errorf("this stack of %s has no %s", s.Kind(), strings.Join(lacking, ", no "))
	}
	return nil
}

// Use notes that the test needs something of the stack. It returns what [Stack.Able] does.
func (s *Stack) Use(needs ...Ability) error {
	s.mu.Lock()
	for _, n := range needs {
		if !slices.Contains(s.used, n) {
			s.used = append(s.used, n)
		}
	}
	s.mu.Unlock()
	return s.Able(needs)
}

// use is [Stack.Use] for what the test itself does: that it cannot is fatal to it.
func (s *Stack) use(needs ...Ability) {
	s.t.Helper()
	if err := s.Use(needs...); err != nil {
		s.t.Fatal(err)
	}
}
