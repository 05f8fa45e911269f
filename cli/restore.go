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

Before anything is changed all files are read and compared with the manifest, fleet, server and configuration are checked, and
it is proven, with a stream FLEET_RESTORE_* for each bucket, that this connection may do what a restore needs, and that no other
restore has begun and not ended. Then the chosen buckets are closed (writes wait, services say that they are not ready), loaded, and opened together. The
revisions of before are never used again, neither those of the backup, so that what a service wrote late cannot land. Who
holds a lease, and what was approved, is not restored.

A restore that was killed has left buckets closed: --take-over goes on with them. Those of which nothing was loaded yet have
their content still, and --give-back opens them as they were instead. Neither while that restore runs.

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
			&cli.BoolFlag{Name: "take-over", Usage: "go on with buckets that a restore which was killed has left closed"},
			&cli.BoolFlag{Name: "give-back", Usage: "restore nothing: open what a restore that was killed has closed and not begun to load"},
			&cli.BoolFlag{Name: "without-resources", Usage: "restore device-info without fleet-resources also where Devices that were deleted since may be made again"},
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
	Action   string  `json:"action"`            // "create", "replace"
	Messages uint64  `json:"messages"`          // that the backup brings
	Replaced *uint64 `json:"replaced"`          // that are there now; null when there is no bucket
	Loaded   *uint64 `json:"loaded,omitempty"`  // that are there after; what had expired since is not
	LeftOut  uint64  `json:"leftOut,omitempty"` // of the backup, because no server would take it

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

	answered bool // services did before
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
	if _, err := chosenBuckets(bucketNames(c), kept); err != nil {
		return err
	}
	m, err := readManifest(dir)
	if err != nil {
		return err
	}
	buckets, err := chosenBuckets(bucketNames(c), m.names())
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
		if err := p.dryRun(c, dir, r); err != nil {
			return err
		}
		return p.showRestoration(format, r)
	}
	if c.Bool("give-back") {
		return p.giveBack(c, dir, r)
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
	if !c.Bool("give-back") && !c.Bool("without-resources") && !c.Bool("take-over") { // that which is taken over was checked
		if err := checkTombstones(c.Context, nc, m, buckets); err != nil {
			return nil, err
		}
	}
	r := &restoration{Fleet: m.Fleet, At: m.At, answered: anyAnswers(services)}
	var there []string
	// What says which devices were deleted comes first, also when not all comes: see checkTombstones.
	for _, name := range slices.Backward(buckets) {
		s, err := p.prepareBucket(c.Context, nc, dir, m, name)
		if err != nil {
			return nil, err
		}
		if s.Replaced != nil {
			there = append(there, fmt.Sprintf("%s (%d messages)", name, *s.Replaced))
		}
		r.Steps = append(r.Steps, s)
	}
	if len(there) > 0 && !c.Bool("replace") && !c.Bool("give-back") {
		return nil, fmt.Errorf("these exist: %s; --replace puts the backup in their place, --bucket chooses others", strings.Join(there, ", "))
	}
	return r, nil
}

func anyAnswers(services []serviceStatus) bool {
	return slices.ContainsFunc(services, func(s serviceStatus) bool { return len(s.Replicas) > 0 })
}

// checkTombstones refuses what would make deleted Devices again. That a Device was deleted is known from the mirror, for as long
// as its tombstones live and the mirror is the one in which they were written; in a mirror that was restored they are made anew
// for all that is in it and has no resource.
func checkTombstones(ctx context.Context, nc *nats.Conn, m manifest, buckets []string) error {
	if !slices.Contains(buckets, fleet.BucketDeviceInfo) || slices.Contains(buckets, fleet.BucketResources) {
		return nil
	}
	const remembered = fleet.TombstoneTTL - time.Hour
	age := time.Since(m.At)
	mirror, err := kv.Open(nc, fleet.BucketResources, kv.Provisioning{}).Survey(ctx)
	why := ""
	switch {
	case err == nil && !mirror.Backup.IsZero() && !mirror.Backup.Before(m.At.Truncate(time.Second)) && time.Since(mirror.Created) < remembered:
		return nil // it was restored from this backup, or a later one
	case age >= remembered:
		why = fmt.Sprintf("the backup is %d days old", age/(24*time.Hour))
	case err != nil:
		why = fmt.Sprintf("%s cannot be seen from here (%v)", fleet.BucketResources, err)
	case mirror.Created.After(m.At):
		why = fmt.Sprintf("%s was made anew since the backup, or restored from an older one", fleet.BucketResources)
	default:
		return nil
	}
	return fmt.Errorf("%s: restored without %s, %s may make Devices again that were deleted since and are forgotten by now; choose both, or say --without-resources",
		why, fleet.BucketResources, fleet.BucketDeviceInfo)
}

func (p *program) prepareBucket(ctx context.Context, nc *nats.Conn, dir string, m manifest, name string) (*step, error) {
	b, _ := m.find(name)
	fmt.Fprintf(p.err, "%s: checking the backup\n", name)
	archived, err := verifyBucket(dir, m, b)
	if err != nil {
		return nil, err
	}
	s := &step{Bucket: name, Action: "create", Messages: archived.Restored, LeftOut: archived.LeftOut.Count, dir: filepath.Join(dir, name)}
	p.sayLeftOut(name, archived.LeftOut)
	meta, err := verifiedMeta(dir, b)
	if err != nil {
		return nil, err
	}
	bucket := kv.Open(nc, name, kv.Provisioning{})
	if s.restore, err = kv.NewRestore(bucket, meta, m.At); err != nil {
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

// carryOut locks all buckets, closes them, loads them, and opens them.
func (p *program) carryOut(c *cli.Context, nc *nats.Conn, dir string, r *restoration) error {
	ctx := c.Context
	if err := lockAll(c, r, c.Bool("take-over")); err != nil {
		return p.failed(c, dir, r, err)
	}
	for _, s := range r.Steps {
		if err := s.restore.Close(ctx, c.Bool("replace")); err != nil {
			return p.failed(c, dir, r, err)
		}
	}
	for _, s := range r.Steps {
		archive := filepath.Join(s.dir, archiveFile)
		shown := p.progress(s.Bucket, "bytes", sizeOf(archive))
		n, err := s.restore.Load(ctx, func() (io.ReadCloser, error) { return os.Open(archive) }, func(n int) { shown.at(uint64(n)) })
		shown.end()
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

// sizeOf returns how many bytes a file has, 0 when that is not known.
func sizeOf(file string) uint64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return uint64(info.Size())
}

// lockAll proves for every bucket that it can be restored, before the first one is closed.
func lockAll(c *cli.Context, r *restoration, takeOver bool) error {
	for _, s := range r.Steps {
		if err := s.restore.Lock(c.Context, takeOver); err != nil {
			return err
		}
	}
	return nil
}

// dryRun proves that the restore could be done. A lock of another restore is not taken over for it.
func (p *program) dryRun(c *cli.Context, dir string, r *restoration) error {
	var locked *kv.LockedError
	for _, s := range r.Steps {
		err := s.restore.Lock(c.Context, false)
		if errors.As(err, &locked) && c.Bool("take-over") {
			fmt.Fprintln(p.err, readable(err))
			continue
		}
		if err != nil {
			return p.failed(c, dir, r, err)
		}
	}
	for _, s := range r.Steps {
		if s.restore.Shut() {
			fmt.Fprintf(p.err, "%s: a restore that did not end has closed it\n", s.Bucket)
		}
		if err := s.restore.Release(context.WithoutCancel(c.Context)); err != nil {
			return p.failed(c, dir, r, err)
		}
	}
	return nil
}

// giveBack opens what a restore that was killed has closed and not begun to load.
func (p *program) giveBack(c *cli.Context, dir string, r *restoration) error {
	if err := lockAll(c, r, true); err != nil {
		return p.failed(c, dir, r, err)
	}
	return p.failed(c, dir, r, nil)
}

// sayLeftOut says what of a bucket is not in a backup, or is not restored from it.
func (p *program) sayLeftOut(bucket string, l kv.LeftOut) {
	if l.Count > 0 {
		fmt.Fprintf(p.err, "%s: %d messages are left out, since no server would take them back: %s\n", bucket, l.Count, printable(strings.Join(l.Keys, ", ")))
	}
}

// resync asks all devices to say again what they are and run: what they have said since the backup is not in it. The
// aggregator does the same when it has seen the restore; one that starts after it has not.
func (p *program) resync(nc *nats.Conn) {
	err := nc.Publish(fleet.SubjectResyncAll, nil)
	if err == nil {
		err = nc.FlushTimeout(5 * time.Second)
	}
	if err != nil {
		fmt.Fprintf(p.err, "fleet: ask the devices to report again: %s; they do so within 15 minutes by themselves\n", readable(err))
	}
}

// outcome is in what state buckets are after a restore that did not come to its end.
type outcome struct {
	restored, asBefore []string
	marked             []string // open, as they were before, and the lock is left
	intact             []string // closed, with what they had
	shut               []string // closed, and what they had is gone
	others             []string // that another restore has
}

func (o outcome) unsettled() int { return len(o.marked) + len(o.intact) + len(o.shut) + len(o.others) }

// failed puts right what can be, and says what state each bucket is in and how to go on. It goes on after Ctrl-C. It returns
// nil when there was no cause, and every bucket is open.
func (p *program) failed(c *cli.Context, dir string, r *restoration, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context), 30*time.Second)
	defer cancel()
	o := p.settle(ctx, r)
	if cause == nil && o.unsettled() == 0 {
		fmt.Fprintf(p.err, "%s: open, and not marked as being restored\n", strings.Join(o.asBefore, ", "))
		return nil
	}
	if cause == nil {
		cause = errors.New("not everything can be given back: its content is gone")
	}
	var busy *kv.LockedError
	isBusy := errors.As(cause, &busy)
	if c.Err() != nil {
		cause = errors.New("stopped")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v", cause)
	if errors.Is(cause, kv.ErrNoPath) {
		b.WriteString("\nuse a NATS context that may, in the account where the bucket is, and choose its buckets with --bucket: docs/backup.md")
	}
	if len(o.restored)+len(o.intact)+len(o.shut)+len(o.others) == 0 {
		b.WriteString("\nnothing was changed")
	}
	for _, part := range []struct {
		names []string
		state string
	}{
		{o.restored, "restored"},
		{o.asBefore, "as it was before"},
		{o.others, "not touched any more: another restore has it"},
		{o.marked, "as it was before, and still marked as being restored"},
		{o.intact, "CLOSED, with what it had: nobody can read or write it"},
		{o.shut, "CLOSED: nobody can read or write it, and its owner cannot create it"},
	} {
		if len(part.names) > 0 {
			fmt.Fprintf(&b, "\n  %s: %s", strings.Join(part.names, ", "), part.state)
		}
	}
	switch {
	case len(o.marked)+len(o.intact)+len(o.shut) > 0:
		p.waysOn(c, &b, dir, o)
	case isBusy:
		waysOnAfterAnother(&b, dir, r, busy)
	}
	return errors.New(b.String())
}

// settle gives back or opens what can be.
func (p *program) settle(ctx context.Context, r *restoration) outcome {
	var o outcome
	for _, s := range r.Steps {
		var err error
		to := &o.shut
		switch {
		case s.Loaded != nil:
			to, err = &o.restored, s.restore.Open(ctx)
		case !s.restore.Held():
			continue // it was not reached, or another restore has it: its lock says so
		case r.DryRun:
			to, err = &o.asBefore, s.restore.Release(ctx)
		case !s.restore.Begun():
			to, err = &o.asBefore, s.restore.Undo(ctx)
		default:
			err = s.restore.Mine(ctx)
		}
		if err != nil {
			fmt.Fprintf(p.err, "fleet: %s\n", readable(err))
			to = o.stuck(s.restore)
		}
		if errors.Is(err, kv.ErrTakenOver) {
			to = &o.others
		}
		*to = append(*to, s.Bucket)
	}
	return o
}

// stuck is where a bucket belongs that could not be put right.
func (o *outcome) stuck(r *kv.Restore) *[]string {
	switch {
	case r.Begun():
		return &o.shut
	case r.Shut():
		return &o.intact
	}
	return &o.marked
}

// waysOn says how to go on with buckets that are closed, or marked.
func (p *program) waysOn(c *cli.Context, b *strings.Builder, dir string, o outcome) {
	if back := slices.Concat(o.marked, o.intact); len(back) > 0 {
		fmt.Fprintf(b, "\nto have them as they were:  fleet restore %s --give-back --bucket %s", shellWord(dir), strings.Join(back, " --bucket "))
	}
	if closed := slices.Concat(o.intact, o.shut); len(closed) > 0 {
		fmt.Fprintf(b, "\nto go on:    fleet restore %s --replace --take-over --yes --bucket %s", shellWord(dir), strings.Join(closed, " --bucket "))
	}
	if len(o.shut) == 0 {
		return
	}
	fmt.Fprintf(b, "\nto give up (owners make their buckets anew, without what only the backup has):")
	at, _ := p.server(c) // it was asked before
	for _, name := range o.shut {
		for _, stream := range []string{fleet.StreamName(name), fleet.RestoreStreamName(name)} {
			fmt.Fprintf(b, "\n  nats %s", strings.Join(slices.Concat(natsFlags(at), []string{"stream", "rm", "-f", stream}), " "))
		}
	}
}

// waysOnAfterAnother says how to go on after a restore that was killed.
func waysOnAfterAnother(b *strings.Builder, dir string, r *restoration, busy *kv.LockedError) {
	var names []string
	for _, s := range r.Steps {
		names = append(names, s.Bucket)
	}
	fmt.Fprintf(b, "\nif it was killed, go on:  fleet restore %s --replace --take-over --yes --bucket %s", shellWord(dir), strings.Join(names, " --bucket "))
	switch {
	case busy.Open:
		fmt.Fprintf(b, "\nor take its mark away:   fleet restore %s --give-back --bucket %s", shellWord(dir), busy.Bucket)
	case busy.Intact:
		fmt.Fprintf(b, "\nor open what it closed:  fleet restore %s --give-back --bucket %s", shellWord(dir), busy.Bucket)
	}
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
	if !r.answered {
		fmt.Fprintln(p.err, "restored; no service answered on this connection before, so none is waited for: 'fleet status' says how they are")
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
	if err := p.table("BUCKET", "ACTION", "MESSAGES", "REPLACED", "LOADED").print(rows); err != nil {
		return err
	}
	if r.DryRun {
		fmt.Fprintln(p.err, "dry run: nothing was changed")
	}
	return nil
}
