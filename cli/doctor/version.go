package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// versions compares those of the replicas with each other, else with that of the command which asks.
func (x *Exam) versions(all []Service) {
	seen := map[string]bool{}
	var who []string
	for _, s := range all {
		for _, h := range s.Replicas {
			seen[h.Version] = true
			who = append(who, fmt.Sprintf("%s is %s", h.Instance, h.Version))
		}
	}
	if len(seen) > 1 {
		x.add(Finding{
			Kind: VersionSkew, What: "not all replicas are of one version", Why: strings.Join(who, ", "),
			Mend: "let the update end, or bring the services to one of " + strings.Join(sorted(seen), ", "),
		})
		return
	}
	for theirs := range seen {
		x.command(theirs)
	}
}

// command compares the version of the command with that of all services. Those that were built without one are not compared.
func (x *Exam) command(theirs string) {
	unknown := []string{"", "devel"}
	if x.Version == theirs || slices.Contains(unknown, x.Version) || slices.Contains(unknown, theirs) {
		return
	}
	x.add(Finding{
		Kind: VersionSkew, What: fmt.Sprintf("this command is %s the services", relation(x.Version, theirs)),
		Why:  fmt.Sprintf("it is %s, they are %s", x.Version, theirs),
		Mend: "use the command that came with the services: this one may not know what they say, or expect what they do not know",
	})
}

// relation says how a version is to another: "older than".
func relation(a, b string) string {
	va, oka := release(a)
	vb, okb := release(b)
	switch {
	case !oka || !okb || va == vb:
		return "of another version than"
	case slices.Compare(va[:], vb[:]) < 0:
		return "older than"
	}
	return "newer than"
}

// release reads "v1.2.3", and what may follow it in "v1.2.3-4-gabc".
func release(version string) (parts [3]int, ok bool) {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	words := strings.Split(version, ".")
	if len(words) != len(parts) {
		return parts, false
	}
	for i, w := range words {
		n, err := strconv.Atoi(w)
		if err != nil {
			return parts, false
		}
		parts[i] = n
	}
	return parts, true
}
