package service

import (
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
)

// NewLogger returns the logger that services use: format is text or json, and credentials are cut out
// of every text.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level %q is none of debug, info, warn, error", level)
	}
	opts := &slog.HandlerOptions{Level: l, ReplaceAttr: redactAttr}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, usagef("--log-format %q is none of text, json", format)
}

// redactAttr is called for the message too, as slog has it.
func redactAttr(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(Redact(a.Value.String()))
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case error:
			a.Value = slog.StringValue(Redact(v.Error()))
		case fmt.Stringer:
			a.Value = slog.StringValue(Redact(v.String()))
		case []string:
			a.Value = slog.StringValue(Redact(strings.Join(v, ",")))
		}
	default: // numbers, times and groups carry no URL
	}
	return a
}

// userInfo is what stands between "//" and the last "@" of a URL's authority.
var userInfo = regexp.MustCompile(`://[^/\s"']*@`)

// Redact cuts the user information out of every URL in a text: "nats://redacted@host:4222".
func Redact(s string) string {
	if !strings.Contains(s, "@") {
		return s
	}
	return userInfo.ReplaceAllString(s, "://redacted@")
}
