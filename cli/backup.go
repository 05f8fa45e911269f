package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"

	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/service"
)

const backupText = `Copies the buckets of the operator into the new folder DIR, while everything runs. Nothing is changed.

This is no backup of your Deployments and Devices. They are the only truth, and live in Kubernetes: back them up there. From
them the operator makes every bucket anew. What a backup of the buckets keeps is what it cannot make anew: what devices that
are switched off have reported, when each device was heard of last, and which resources were deleted in the last 7 days. And
after a loss of many devices' buckets it saves the time in which all of them report again.

Each bucket is copied whole: every key as it was at some moment between the beginning and the end of the copy. Different
buckets, and different keys, are of different moments. The bucket fleet-leases is left out: it has nothing but a lease.

DIR is written under another name beside it, read back, and renamed when everything is in it: what was interrupted is never
taken for a backup.`

func (p *program) backupCommand() *cli.Command {
	return &cli.Command{
		Name:        "backup",
		Usage:       "copy the operator's buckets into a folder",
		ArgsUsage:   "DIR",
		Description: backupText,
		Flags:       []cli.Flag{bucketFlag("back up"), outputFlag()},

		OnUsageError: wrongFlag,
		Action:       p.backup,
	}
}

func bucketFlag(verb string) cli.Flag {
	return &cli.StringSliceFlag{Name: "bucket", Usage: verb + " only this bucket; may be given several times"}
}

// bucketNames are those of --bucket. Commas separate some, too.
func bucketNames(c *cli.Context) []string {
	var names []string
	for _, v := range c.StringSlice("bucket") {
		names = append(names, strings.Split(v, ",")...)
	}
	return names
}

// oneDir returns the argument of a command that takes a folder.
func oneDir(c *cli.Context) (string, error) {
	switch c.NArg() {
	case 0:
		return "", usagef("say which folder: 'fleet %s DIR'", c.Command.Name)
	case 1:
		return c.Args().First(), nil
	}
	return "", usagef("'fleet %s' takes one folder, got %q too", c.Command.Name, c.Args().Get(1))
}

func (p *program) backup(c *cli.Context) error {
	format, err := outputFormat(c)
	if err != nil {
		return err
	}
	dir, err := oneDir(c)
	if err != nil {
		return err
	}
	buckets, err := chosenBuckets(bucketNames(c), kept)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("%s exists, and nothing is overwritten: choose another folder", dir)
	}
	nc, err := p.connect(c)
	if err != nil {
		return err
	}
	defer nc.Close()
	m, err := p.writeBackup(c.Context, nc, dir, buckets)
	if err != nil {
		if c.Err() != nil {
			return errors.New("stopped: no backup was written")
		}
		return fmt.Errorf("%w: no backup was written", err)
	}
	return p.showManifest(format, dir, m)
}

// writeBackup writes a backup beside dir and renames it once it is whole.
func (p *program) writeBackup(ctx context.Context, nc *nats.Conn, dir string, buckets []string) (manifest, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return manifest{}, fmt.Errorf("resolve %s: %w", dir, err)
	}
	if err := os.MkdirAll(filepath.Dir(abs), 0o755); err != nil {
		return manifest{}, fmt.Errorf("make the folder: %w", err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(abs), "."+filepath.Base(abs)+".unfinished-")
	if err != nil {
		return manifest{}, fmt.Errorf("make the folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }() // it is not there any more when all went well
	m := manifest{
		Format: manifestFormat, At: time.Now().UTC().Truncate(time.Second),
		Version: service.BuildVersion(), Server: nc.ConnectedServerVersion(),
	}
	for _, name := range buckets {
		b, of, err := p.backUpBucket(ctx, nc, temp, name)
		if err != nil {
			return m, err
		}
		if m.Fleet == "" {
			m.Fleet = of
		}
		if of == "" || of != m.Fleet {
			return m, fmt.Errorf("bucket %s says that it belongs to fleet %q, another to %q: 'fleet doctor' tells more", name, of, m.Fleet)
		}
		m.Buckets = append(m.Buckets, b)
	}
	for _, b := range m.Buckets { // what a disk has made of it
		if _, err := verifyBucket(temp, m, b); err != nil {
			return m, fmt.Errorf("read back what was written: %w", err)
		}
	}
	if m.Checksum, err = m.sum(); err != nil {
		return m, err
	}
	if err := writeManifest(temp, m); err != nil {
		return m, err
	}
	return m, finish(ctx, temp, abs)
}

// finish gives a whole backup its name. It does not replace anything.
func finish(ctx context.Context, temp, dir string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := syncDir(temp); err != nil {
		return err
	}
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("%s exists by now, and nothing is overwritten", dir)
	}
	if err := os.Rename(temp, dir); err != nil {
		return fmt.Errorf("give the backup its name: %w", err)
	}
	return syncDir(filepath.Dir(dir))
}

func writeManifest(dir string, m manifest) error {
	doc, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the manifest: %w", err)
	}
	return writeFile(filepath.Join(dir, manifestFile), func(w io.Writer) error {
		_, err := w.Write(append(doc, '\n'))
		return err
	})
}

func (p *program) backUpBucket(ctx context.Context, nc *nats.Conn, dir, name string) (bucketBackup, string, error) {
	b := bucketBackup{Bucket: name, Began: time.Now().UTC()}
	folder := filepath.Join(dir, name)
	if err := os.Mkdir(folder, 0o755); err != nil {
		return b, "", fmt.Errorf("make the folder: %w", err)
	}
	bucket := kv.Open(nc, name, kv.Provisioning{})
	now, _ := bucket.Survey(ctx) // only for the progress: Dump says what is wrong
	shown := p.progress(name, "messages", now.Messages)
	var d kv.Dump
	err := writeFile(filepath.Join(folder, archiveFile), func(w io.Writer) (err error) {
		d, err = bucket.Dump(ctx, w, shown.at)
		return err
	})
	shown.end()
	if errors.Is(err, kv.ErrBucketMissing) {
		return b, "", fmt.Errorf("%w; 'fleet status' says whether its owner runs; --bucket chooses others", err)
	}
	if err == nil {
		err = writeFile(filepath.Join(folder, metaFile), func(w io.Writer) error {
			_, err := w.Write(d.Meta)
			return err
		})
	}
	if err != nil {
		return b, "", err
	}
	p.sayLeftOut(name, d.LeftOut)
	b.LeftOut = d.LeftOut.Count
	b.Messages, b.Bytes, b.LastSequence, b.Created, b.Ended = d.Messages, d.Bytes, d.Last, d.Created, time.Now().UTC()
	if b.Archive, err = sumFile(filepath.Join(folder, archiveFile)); err != nil {
		return b, "", err
	}
	if b.Meta, err = sumFile(filepath.Join(folder, metaFile)); err != nil {
		return b, "", err
	}
	fmt.Fprintf(p.err, "%s: %d messages copied\n", name, b.Messages)
	return b, d.Fleet, syncDir(folder)
}

// writeFile writes a new file and makes sure that it is on disk.
func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // what devices run is nobody's business
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	return nil
}

func (p *program) showManifest(format, dir string, m manifest) error {
	if format == formatJSON || format == formatYAML {
		return encode(p.out, format, m)
	}
	header := []string{"BUCKET", "MESSAGES", "BYTES", "LAST SEQUENCE"}
	if format == formatWide {
		header = append(header, "CREATED", "TOOK", "SHA256")
	}
	var rows [][]string
	for _, b := range m.Buckets {
		row := []string{
			b.Bucket, strconv.FormatUint(b.Messages, 10), strconv.FormatUint(b.Bytes, 10), strconv.FormatUint(b.LastSequence, 10),
			b.Created.Format(time.RFC3339), b.Ended.Sub(b.Began).Round(time.Millisecond).String(), b.Archive.SHA256,
		}
		rows = append(rows, row[:len(header)])
	}
	if err := p.table(header...).print(rows); err != nil {
		return err
	}
	fmt.Fprintf(p.err, "backup of fleet %s in %s: no Deployment and no Device is in it, they live in Kubernetes\n", m.Fleet, dir)
	return nil
}
