package projection

import "fmt"

// CheckEmpty tells what the State still holds inside.
func (s *State) CheckEmpty() error {
	for what, n := range map[string]int{
		"devices":     len(s.devices),
		"deployments": len(s.deployments),
		"wishes":      len(s.wishes),
		"fresh":       len(s.fresh.items),
		"stale":       len(s.stale.items),
		"dirty":       len(s.dirty),
		"changed":     len(s.changed),
		"asking":      len(s.asking),
		"leaving":     len(s.leaving),
		"strays":      len(s.strays),
		"unclaimed":   len(s.unclaimed),
	} {
		if n > 0 {
			return fmt.Errorf("%d %s left", n, what)
		}
	}
	return nil
}
