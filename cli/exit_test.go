package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// rudeText clears the screen, turns the direction of what follows, and goes back to the beginning of the line.
const rudeText = "no\x1b[2J such\u202e thing\r\nall is well\x07"

func TestExitCode_PrintsNoTextOfOthersAsItIs(t *testing.T) {
	const safe = "no [2J such  thing \nall is well "
	wire := fleet.Errorf(fleet.CodeInternal, "Bug", rudeText)
	for name, c := range map[string]struct {
		err  error
		want string
		code int
	}{
		"an answer":          {fmt.Errorf("ask: %w", wire), "fleet: ask: " + safe + " (Bug, code 500)\n", exitNo},
		"several":            {errors.Join(errors.New("a"), errors.New("b\x1b")), "fleet: a\nb \n", exitNo},
		"a wrong argument":   {usagef("what is %s", rudeText), "fleet: what is " + safe + "\n", exitUsage},
		"all has been said":  {errQuiet, "", exitNo},
		"nothing went wrong": {nil, "", exitDone},
	} {
		var stderr bytes.Buffer
		if code := exitCode(c.err, &stderr); code != c.code || stderr.String() != c.want {
			t.Errorf("%s: exit %d, %q, want %q", name, code, stderr.String(), c.want)
		}
	}
}

func TestWatch_PrintsNoErrorAsItIs(t *testing.T) {
	var stderr bytes.Buffer
	w := &watcher{p: &program{err: &stderr}}
	for range 2 {
		if err := w.take(nil, errors.New(rudeText)); err != nil {
			t.Fatal(err)
		}
	}
	if want := "fleet: no [2J such  thing \nall is well ; going on to ask\n"; stderr.String() != want {
		t.Errorf("%q, want %q", stderr.String(), want)
	}
}

func TestRun_AnswersOfOthersAreReadable(t *testing.T) {
	o, url := startOperator(t)
	o.serve(fleet.ServiceAggregator, true, func(s *rpc.Server) {
		err := rpc.Handle(s, fleet.DevicesList, func(context.Context, fleet.DevicesListRequest) (fleet.DevicesListResponse, error) {
			return fleet.DevicesListResponse{}, fleet.Errorf(fleet.CodeInvalid, "Invalid", rudeText)
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	code, _, stderr := invoke(t.Context(), "get", "devices", "--nats-url", url)
	if code != exitNo || bytes.ContainsAny([]byte(stderr), "\x1b\x07\r\u202e") {
		t.Errorf("exit %d, %q", code, stderr)
	}
}
