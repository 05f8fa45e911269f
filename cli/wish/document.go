package wish

import (
	"fmt"

	"harmony.dev/fleet"
)

// APIVersion is what a Deployment of the fleet says.
const APIVersion = fleet.Group + "/" + fleet.Version

// Document is one resource in a file.
type Document struct {
	File                              string
	Line                              int // where it begins, from 1
	APIVersion, Kind, Namespace, Name string

	Candidate *fleet.Candidate // of a Deployment that can be applied; else nil
	Err       error            // why it cannot be; nil for other kinds, which are none of ours
}

// Where is "web.yaml:12".
func (d Document) Where() string { return fmt.Sprintf("%s:%d", d.File, d.Line) }

// Ours reports whether it is a Deployment of the fleet, or means to be one.
func (d Document) Ours() bool { return d.Candidate != nil || d.Err != nil }

// Subject is "v1 ConfigMap site".
func (d Document) Subject() string {
	s := d.APIVersion + " " + d.Kind
	if d.Name != "" {
		s += " " + d.Name
	}
	return s
}
