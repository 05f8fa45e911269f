package explain

import "fmt"

// facts lists what is known, whatever the verdict.
func facts(in Input) []string {
	out := deviceFacts(in)
	out = append(out, deploymentFacts(in)...)
	out = append(out, pairFacts(in)...)
	if h := in.Hold; h != nil {
		out = append(out, fmt.Sprintf("hold %s keeps %d deletes back, approved: %t", h.ID, h.Deletes, h.Approved))
	}
	return out
}

func deviceFacts(in Input) []string {
	d := in.Device
	seen := "never heard of"
	if d.Known {
		seen = "last seen " + stamp(d.LastSeen)
	}
	out := []string{fmt.Sprintf("device %s: %s, %s", d.ID, d.State(), seen)}
	if !d.Registered {
		out = append(out, fmt.Sprintf("device %s: no Device resource", d.ID))
	}
	if d.Resource.Invalid != "" {
		out = append(out, fmt.Sprintf("device %s: its resource cannot be mirrored: %s", d.ID, d.Resource.Invalid))
	}
	if d.InfoSpoiled {
		out = append(out, fmt.Sprintf("device %s: its last info is malformed and was set aside", d.ID))
	}
	if d.InfoDoubted {
		out = append(out, fmt.Sprintf("device %s: its info came with a backup, and its resource counts, until it reports again", d.ID))
	}
	return out
}

func deploymentFacts(in Input) []string {
	dep := in.Deployment
	if !dep.Registered {
		return nil
	}
	var out []string
	switch a := dep.Applied; {
	case a == nil:
		out = append(out, fmt.Sprintf("deployment %s: generation %d, none applied", dep.Name, dep.Generation))
	case a.UID != dep.UID:
		out = append(out, fmt.Sprintf("deployment %s: what is applied is of an earlier deployment of this name", dep.Name))
	default:
		out = append(out, fmt.Sprintf("deployment %s: generation %d, applied %d", dep.Name, dep.Generation, a.Generation))
	}
	if !in.Device.Registered || in.Device.Resource.Invalid != "" {
		return out
	}
	misses, err := mismatches(dep.Selector, in.Device.Resource.Labels)
	switch {
	case err != nil:
		return append(out, fmt.Sprintf("selector of %s: %v", dep.Name, err))
	case len(misses) == 0:
		return append(out, fmt.Sprintf("selector of %s: matches the labels of device %s", dep.Name, in.Device.ID))
	}
	for _, m := range misses {
		out = append(out, fmt.Sprintf("selector of %s: %s", dep.Name, m))
	}
	return out
}

func pairFacts(in Input) []string {
	p := in.Pair
	var out []string
	switch {
	case p.Desired && p.Trusted:
		out = append(out, "desired hash "+p.DesiredHash)
	case p.Desired:
		out = append(out, "desired, by a value that cannot be trusted")
	default:
		out = append(out, "not in desired-state")
	}
	if !p.Reported {
		return append(out, "no report")
	}
	if p.Phase != "" {
		out = append(out, fmt.Sprintf("reported %s at %s (the device's clock) about hash %s", p.Phase, p.LastEventAt, p.ObservedHash))
	}
	if p.Spoiled {
		out = append(out, "the last report is malformed and was set aside")
	}
	if p.LastError != "" {
		out = append(out, "error: "+p.LastError)
	}
	return out
}
