package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
)

// probeTimeout bounds how long a probe waits for an answer.
const probeTimeout = 3 * time.Second

// probeCommand asks the instance beside it how it is, for health checks in images that have no other program.
func probeCommand(flags []cli.Flag, getenv func(string) string, stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "probe",
		Usage: "ask the instance that runs beside, at --http-listen, whether it is ready: exit code 0 or 1, for health checks",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "live", Usage: "ask whether it lives, ready or not"}},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("unexpected argument %q", c.Args().First())
			}
			if err := ApplyEnv(c.Lineage()[1], flags, getenv); err != nil {
				return err
			}
			return probe(c.Context, c.String("http-listen"), c.Bool("live"), stdout)
		},
	}
}

// notHealthy is the answer of an instance that is not well, or that there is none.
type notHealthy struct{ text string }

// Error says what the instance said.
func (e *notHealthy) Error() string { return e.text }

func probe(ctx context.Context, listen string, live bool, stdout io.Writer) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return usagef("--http-listen %q names no port to ask: set it as for the instance", listen)
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	path := "/readyz"
	if live {
		path = "/healthz"
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return usagef("--http-listen %q is no address: %v", listen, err)
	}
	// The instance is beside: a proxy, which the environment may name, leads somewhere else.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return &notHealthy{fmt.Sprintf("no answer: %v", errors.Unwrap(err))}
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK {
		return &notHealthy{said(resp.Body)}
	}
	_, err = fmt.Fprintln(stdout, "ok")
	return err
}

// said is what an instance that is not well answers, in one line.
func said(body io.Reader) string {
	text, _ := io.ReadAll(io.LimitReader(body, 64<<10)) // what came is shown
	var h fleet.Health
	if json.Unmarshal(text, &h) != nil {
		return string(text)
	}
	line := "not ready: " + string(h.State)
	for _, r := range h.Reasons {
		line += fmt.Sprintf("; %s: %s", r.Reason, r.Message)
	}
	return line
}
