package kv

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// The oldest NATS server that has all the package relies on: atomic batches whose checks are known to
// hold, per-message TTLs with markers, republish.
const (
	minMajor = 2
	minMinor = 14
)

// CheckServer returns [ErrServerTooOld], in words, when the server of a connection is too old for the package.
func CheckServer(nc *nats.Conn) error { return checkVersion(nc.ConnectedServerVersion()) }

// checkVersion returns ErrServerTooOld, in words, for a server before 2.14. A version that cannot be
// read passes: the comparison of the stream's configuration finds what is missing.
func checkVersion(version string) error {
	major, minor, ok := parseVersion(version)
	if !ok || major > minMajor || major == minMajor && minor >= minMinor {
		return nil
	}
	return fmt.Errorf("%w: it is %s, %d.%d or newer is needed: upgrade nats-server, the data can stay", ErrServerTooOld, version, minMajor, minMinor)
}

func parseVersion(v string) (major, minor int, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3)
	if len(parts) < 2 {
		return 0, 0, false
	}
	major, err := strconv.Atoi(parts[0])
	if err != nil {
		return 0, 0, false
	}
	minor, err = strconv.Atoi(parts[1])
	return major, minor, err == nil
}
