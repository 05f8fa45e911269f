package fleet

import (
	"fmt"
	"strings"
)

// MaxNameLength is the length of the longest device id or deployment name, in bytes. It is the
// limit of a DNS label (RFC 1123).
const MaxNameLength = 63

// DeviceID names one device: the name of its Device resource and a token of its keys.
type DeviceID string

// DeploymentName names one Deployment: the name of its resource and a token of its keys.
type DeploymentName string

// Validate reports whether the id is a DNS label (RFC 1123): lower case letters, digits and '-',
// not at either end, 1 to 63 bytes.
func (d DeviceID) Validate() error { return validateName("device id", string(d)) }

// Validate reports whether the name is a DNS label (RFC 1123), as [DeviceID.Validate] has it.
func (d DeploymentName) Validate() error { return validateName("deployment name", string(d)) }

// Pair is one Deployment on one device: the unit that is desired, reported and counted.
type Pair struct {
	Device     DeviceID
	Deployment DeploymentName
}

// String returns the pair as its desired-state key: "pi-07.web".
func (p Pair) String() string { return string(p.Device) + "." + string(p.Deployment) }

// Compare orders pairs by device, then by deployment: negative, zero or positive.
func (p Pair) Compare(q Pair) int {
	if c := strings.Compare(string(p.Device), string(q.Device)); c != 0 {
		return c
	}
	return strings.Compare(string(p.Deployment), string(q.Deployment))
}

func validateName(what, s string) error {
	if s == "" {
		return fmt.Errorf("%w: %s is empty", ErrInvalid, what)
	}
	if len(s) > MaxNameLength {
		return fmt.Errorf("%w: %s is %d bytes long, at most %d are allowed", ErrInvalid, what, len(s), MaxNameLength)
	}
	if !isLabel(s) {
		return fmt.Errorf("%w: %s %q is not a DNS label (lower case letters, digits and '-' in between)", ErrInvalid, what, s)
	}
	return nil
}

// isLabel leaves the length to its callers: Kubernetes bounds a part of a subdomain only as a whole.
func isLabel(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (c != '-' || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != ""
}
