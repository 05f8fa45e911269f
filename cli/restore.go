package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
)

const restoreText = `Puts the buckets of a backup in the place of those that are there, while the operator and the devices run.

No Deployment and no Device comes back by it: they live in Kubernetes, and the operator makes the buckets agree with them at
once. A workload that is wanted now keeps running, whatever the backup says; a device that is switched off shows what it
reported before the backup.

A running service creates its bucket anew within a second after a loss, so there most often is one: --replace says that its
content may go. Make a backup of that first when in doubt.

Before anything is changed all files are read and compared with the manifest, and fleet, server and configuration are checked.
Then the chosen buckets are closed (writes wait, services say that they are not ready), loaded, and opened together. The
revisions of before are never used again, neither those of the backup, so that what a service wrote late cannot land. Who
holds a lease, and what was approved, is not restored.

It needs NATS 2.15 or newer.`

func (p *program) restoreCommand() *cli.Command {
	return &cli.Command{
		Name:        "restore",
		Usage:       "put the buckets of a backup in the place of those that are there",
		ArgsUsage:   "DIR",
		Description: restoreText,
		Flags: []cli.Flag{
			bucketFlag("restore"),
			&cli.BoolFlag{Name: "replace", Usage: "replace buckets that exist; else only missing ones are restored, and one that exists is an error"},
			&cli.BoolFlag{Name: "dry-run", Usage: "check everything, say what would be done, and change nothing"},
			&cli.DurationFlag{Name: "wait", Value: 2 * time.Minute, Usage: "how long to wait until all services are ready again; 0: not at all"},
			yesFlag(), outputFlag(),
		},
		OnUsageError: wrongFlag,
		Action:       p.restore,
	}
}

// step is what is done with one bucket.
type step struct {
	Bucket   string  `json:"bucket"`
	Action   string  `json:"action"`           // "create", "replace"
	Messages uint64  `json:"messages"`         // that the backup brings
	Replaced *uint64 `json:"replaced"`         // that are there now; null when there is no bucket
	Loaded   *uint64 `json:"loaded,omitempty"` // that are there after; what had expired since is not

	dir     string
	restore *kv.Restore
}

// restoration is what a restore does, or would do.
type restoration struct {
	Fleet  string    `json:"fleet"`
	At     time.Time `json:"at"` // of the backup
	DryRun bool      `json:"dryRun,omitempty"`
	Steps  []*step   `json:"buckets"`
	Ready  *bool     `json:"ready,omitempty"` // whether all services were ready again in time
}

func (p *program) restore(c *cli.Context) error {
	format, err := outputFormat(c)
	if err != nil {
		return err
	}
	dir, err := oneDir(c)
	if err != nil {
		return err
	}
	if c.Duration("wait") < 0 {
		return usagef("--wait must not be negative")
	}
	if _, err := chosenBuckets(c.StringSlice("bucket"), kept); err != nil {
		return err
	}
	m, err := readManifest(dir)
	if err != nil {
		return err
	}
	buckets, err := chosenBuckets(c.StringSlice("bucket"), m.names())
	if err != nil {
		return fmt.Errorf("the backup has no such bucket: %w", err)
	}
	nc, err := p.connect(c)
	if err != nil {
		return err
	}
	defer nc.Close()
	r, err := p.prepare(c, nc, dir, m, buckets)
	if err != nil {
		if c.Err() != nil {
			return errors.New("stopped: nothing was changed")
		}
		return fmt.Errorf("%w: nothing was changed", err)
	}
	if r.DryRun = c.Bool("dry-run"); r.DryRun {
		return p.showRestoration(format, r)
	}
	if err := p.confirm(c, question(r)); err != nil {
		return err
	}
	if err := p.carryOut(c, nc, dir, r); err != nil {
		return err
	}
	return p.awaitReady(c, nc, format, r)
}

// prepare checks everything that can be checked before anything is changed.
func (p *program) prepare(c *cli.Context, nc *nats.Conn, dir string, m manifest, buckets []string) (*restoration, error) {
	if err := kv.CheckRestore(nc); err != nil {
		return nil, err
	}
	if older(nc.ConnectedServerVersion(), m.Server) {
		return nil, fmt.Errorf("the NATS server is %s, the backup is of one that was %s: upgrade the server first", nc.ConnectedServerVersion(), m.Server)
	}
	services, err := gatherHealth(c.Context, nc, time.Second)
	if err != nil {
		return nil, err
	}
	if running := fleetOf(services); running != "" && running != m.Fleet {
		return nil, fmt.Errorf("the backup is of fleet %q, the services here run %q", m.Fleet, running)
	}
	r := &restoration{Fleet: m.Fleet, At: m.At}
	var there []string
	for _, name := range buckets {
		s, err := p.prepareBucket(c.Context, nc, dir, m, name)
		if err != nil {
			return nil, err
		}
		if s.Replaced != nil {
			there = append(there, fmt.Sprintf("%s (%d messages)", name, *s.Replaced))
		}
		r.Steps = append(r.Steps, s)
	}
	if len(there) > 0 && !c.Bool("replace") {
		return nil, fmt.Errorf("these exist: %s; --replace puts the backup in their place, --bucket chooses others", strings.Join(there, ", "))
	}
	return r, nil
}

func (p *program) prepareBucket(ctx context.Context, nc *nats.Conn, dir string, m manifest, name string) (*step, error) {
	b, _ := m.find(name)
	fmt.Fprintf(p.err, "%s: checking the backup\n", name)
	archived, err := verifyBucket(dir, m, b)
	if err != nil {
		return nil, err
	}
	s := &step{Bucket: name, Action: "create", Messages: archived.Restored, dir: filepath.Join(dir, name)}
	meta, err := verifiedMeta(dir, b)
	if err != nil {
		return nil, err
	}
	bucket := kv.Open(nc, name, kv.Provisioning{})
	if s.restore, err = kv.NewRestore(bucket, meta); err != nil {
		return nil, err
	}
	now, err := bucket.Survey(ctx)
	switch {
	case errors.Is(err, kv.ErrBucketMissing):
		return s, nil
	case err != nil:
		return nil, err
	case now.Fleet != m.Fleet:
		return nil, fmt.Errorf("the backup is of fleet %q, bucket %s here of %q", m.Fleet, name, now.Fleet)
	}
	s.Action, s.Replaced = "replace", &now.Messages
	return s, nil
}

// older reports whether a server version is below another, patches aside.
func older(have, want string) bool {
	h, w := strings.SplitN(have, ".", 3), strings.SplitN(want, ".", 3)
	for i := range min(2, len(h), len(w)) {
		a, errA := strconv.Atoi(h[i])
		b, errB := strconv.Atoi(w[i])
		if errA != nil || errB != nil || a != b {
			return errA == nil && errB == nil && a < b
		}
	}
	return false
}

func question(r *restoration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Restore fleet %s from the backup of %s:\n", r.Fleet, r.At.Format(time.RFC3339))
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "  %s %s with %d messages", s.Action, s.Bucket, s.Messages)
		if s.Replaced != nil {
			fmt.Fprintf(&b, "; the %d that are there are lost", *s.Replaced)
		}
		b.WriteByte('\n')
	}
	b.WriteString("Meanwhile the services are not ready. Devices keep running what they run.")
	return b.String()
}

// carryOut closes all buckets, loads them, and opens them.
func (p *program) carryOut(c *cli.Context, nc *nats.Conn, dir string, r *restoration) error {
	ctx := c.Context
	for _, s := range r.Steps {
		if err := s.restore.Close(ctx, c.Bool("replace")); err != nil {
			return p.failed(c, dir, r, err)
		}
	}
	for _, s := range r.Steps {
		say := p.progress(s.Bucket + ": %d bytes sent\n")
		n, err := s.restore.Load(ctx, func() (io.ReadCloser, error) { return os.Open(filepath.Join(s.dir, archiveFile)) }, func(n int) { say(n) })
		if err != nil {
			return p.failed(c, dir, r, err)
		}
		s.Loaded = &n
		fmt.Fprintf(p.err, "%s: %d messages loaded\n", s.Bucket, n)
	}
	for _, s := range r.Steps {
		if err := s.restore.Open(ctx); err != nil {
			return p.failed(c, dir, r, err)
		}
	}
	p.resync(nc)
	return nil
}

// resync asks all devices to say again what they are and run: what they have said since the backup is not in it. The
// aggregator does the same when it has seen the restore; one that starts after it has not.
func (p *program) resync(nc *nats.Conn) {
	err := nc.Publish(fleet.SubjectResyncAll, nil)
	if err == nil {
		err = nc.FlushTimeout(5 * time.Second)
	}
	if err != nil {
		fmt.Fprintf(p.err, "fleet: ask the devices to report again: %v; they do so within 15 minutes by themselves\n", err)
	}
}

// failed puts right what can be, and says what state each bucket is in and how to go on. It goes on after Ctrl-C.
func (p *program) failed(c *cli.Context, dir string, r *restoration, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context), 30*time.Second)
	defer cancel()
	var restored, asBefore, shut []string
	for _, s := range r.Steps {
		var err error
		switch {
		case s.Loaded != nil:
			if err = s.restore.Open(ctx); err == nil {
				restored = append(restored, s.Bucket)
			}
		case !s.restore.Begun():
			if err = s.restore.Undo(ctx); err == nil {
				asBefore = append(asBefore, s.Bucket)
			}
		default:
			shut = append(shut, s.Bucket)
		}
		if err != nil {
			shut = append(shut, s.Bucket)
			fmt.Fprintf(p.err, "fleet: %v\n", err)
		}
	}
	if c.Err() != nil {
		cause = errors.New("stopped")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v", cause)
	for _, part := range []struct {
		names []string
		state string
	}{{restored, "restored"}, {asBefore, "as it was before"}, {shut, "CLOSED: nobody can read or write it, and its owner cannot create it"}} {
		if len(part.names) > 0 {
			fmt.Fprintf(&b, "\n  %s: %s", strings.Join(part.names, ", "), part.state)
		}
	}
	if len(shut) > 0 {
		fmt.Fprintf(&b, "\nto go on:    fleet restore %s --replace --yes --bucket %s", shellWord(dir), strings.Join(shut, " --bucket "))
		fmt.Fprintf(&b, "\nto give up (owners make their buckets anew, without what only the backup has):")
		at, _ := p.server(c) // it was asked before
		for _, name := range shut {
			for _, stream := range []string{fleet.StreamName(name), fleet.RestoreStreamName(name)} {
				fmt.Fprintf(&b, "\n  nats %s", strings.Join(slices.Concat(natsFlags(at), []string{"stream", "rm", "-f", stream}), " "))
			}
		}
	}
	return errors.New(b.String())
}

// shellWord writes a word for a shell.
func shellWord(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// awaitReady waits until the services have noticed and are ready.
func (p *program) awaitReady(c *cli.Context, nc *nats.Conn, format string, r *restoration) error {
	wait := c.Duration("wait")
	if wait == 0 {
		return p.showRestoration(format, r)
	}
	fmt.Fprintf(p.err, "restored; waiting until the services are ready\n")
	ctx, cancel := context.WithTimeout(c.Context, wait)
	defer cancel()
	began, said := time.Now(), ""
	for {
		services, err := gatherHealth(ctx, nc, time.Second)
		ready := err == nil && allReady(services)
		if ready {
			fmt.Fprintf(p.err, "all services are ready, after %s\n", time.Since(began).Round(time.Second))
		} else if why := unready(services); ctx.Err() == nil && why != said {
			said = why
			fmt.Fprintf(p.err, "%s\n", printable(why))
		}
		if ready || ctx.Err() != nil {
			r.Ready = &ready
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
	if err := p.showRestoration(format, r); err != nil {
		return err
	}
	switch {
	case *r.Ready:
		return nil
	case c.Err() != nil:
		return errors.New("everything was restored; stopped before the services were ready: 'fleet status' says how they are")
	}
	return fmt.Errorf("everything was restored, but after %s not all services are ready: %s; 'fleet status' and 'fleet doctor' tell more", wait, printable(said))
}

// unready says which services are not ready.
func unready(services []serviceStatus) string {
	var parts []string
	for _, s := range services {
		if len(s.Replicas) == 0 {
			parts = append(parts, s.Service+" does not answer")
		}
		for _, h := range s.Replicas {
			if !h.Ready || h.State != fleet.StateReady {
				parts = append(parts, fmt.Sprintf("%s is %s", h.Instance, h.State))
			}
		}
		if len(s.Replicas) > 0 && !s.acts() {
			parts = append(parts, "no replica of "+s.Service+" acts yet")
		}
	}
	return strings.Join(parts, ", ")
}

func (p *program) showRestoration(format string, r *restoration) error {
	if format == formatJSON || format == formatYAML {
		return encode(p.out, format, r)
	}
	var rows [][]string
	for _, s := range r.Steps {
		replaced, loaded := "-", "-"
		if s.Replaced != nil {
			replaced = strconv.FormatUint(*s.Replaced, 10)
		}
		if s.Loaded != nil {
			loaded = strconv.FormatUint(*s.Loaded, 10)
		}
		rows = append(rows, []string{s.Bucket, s.Action, strconv.FormatUint(s.Messages, 10), replaced, loaded})
	}
	if err := newTable(p.out, "BUCKET", "ACTION", "MESSAGES", "REPLACED", "LOADED").print(rows); err != nil {
		return err
	}
	if r.DryRun {
		fmt.Fprintln(p.err, "dry run: nothing was changed")
	}
	return nil
}
