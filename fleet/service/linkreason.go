package service

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// Degraded reasons of a connection.
const (
	reasonMisconfigured    = "NATSMisconfigured"
	reasonUnreachable      = "NATSUnreachable"
	reasonUnauthorized     = "NATSUnauthorized"
	reasonTooOld           = "NATSTooOld"
	reasonPermissionDenied = "NATSPermissionDenied"
)

// reason returns what is wrong with the connection and what to do about it, or nil. Before the first
// attempt nothing is wrong.
func (l *link) reason() *fleet.Reason {
	l.mu.Lock()
	nc, setup, dial, denied := l.nc, l.setup, l.dial, l.denied
	l.mu.Unlock()
	switch {
	case setup != nil:
		return l.reasonf(reasonMisconfigured, "%s: check the flag and the files it names", setup)
	case nc == nil:
		return nil
	case !nc.IsConnected():
		return l.downReason(nc.LastError(), dial)
	case tooOld(nc.ConnectedServerVersion()):
		return l.reasonf(reasonTooOld, "the server is version %s, at least %s is needed: without it writes cannot be fenced; upgrade nats-server", nc.ConnectedServerVersion(), minServerNeeded)
	case denied != "":
		return l.reasonf(reasonPermissionDenied, "%s: give the user of this connection this permission", denied)
	}
	return nil
}

func (l *link) downReason(last, dial error) *fleet.Reason {
	switch {
	case errors.Is(last, nats.ErrAuthorization), errors.Is(last, nats.ErrAuthExpired), errors.Is(last, nats.ErrAuthRevoked), errors.Is(last, nats.ErrAccountAuthExpired):
		return l.reasonf(reasonUnauthorized, "the server refuses the user (%s): check the credentials; trying again", last)
	case dial != nil:
		return l.reasonf(reasonUnreachable, "no server can be reached (%s): check that nats-server runs and that the URL is right; trying again", dial)
	case last != nil:
		return l.reasonf(reasonUnreachable, "the server does not accept the connection (%s); trying again", last)
	}
	return l.reasonf(reasonUnreachable, "the connection is down; trying again")
}

func (l *link) reasonf(reason, format string, args ...any) *fleet.Reason {
	where := Redact(l.target.url)
	if l.target.context != "" {
		where = "context " + l.target.context
	}
	text := fmt.Sprintf("%s connection to %s: ", l.name, where) + fmt.Sprintf(format, args...)
	return &fleet.Reason{Reason: reason, Message: Redact(text)}
}

// tooOld reports whether a server version ("2.12.1-RC.1") is older than what the fence needs. A version
// that cannot be read is not: buckets are compared field by field after they were created.
func tooOld(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil {
		return false
	}
	return major < minServerMajor || major == minServerMajor && minor < minServerMinor
}
