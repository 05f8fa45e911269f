package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Config is what a look at a bucket's configuration found.
type Config struct {
	Bucket      string
	Fleet       string   // the fleet that the bucket says it belongs to
	Differences []string // settings that are not as the bucket needs them
	Edit        Request  // gives it its settings back; without a subject: the server would refuse
	Delete      Request  // its owner creates it anew
}

// Missing says that a bucket does not exist.
func (x *Exam) Missing(bucket string) {
	x.add(Finding{
		Kind: BucketMissing, Bucket: bucket, What: "the bucket does not exist",
		Why:  creator(bucket) + " creates it, and has not, or this connection leads to another account",
		Mend: "run " + creator(bucket) + "; where devices have an account of their own, ask with a connection to each of the two",
	})
}

// Restoration is a restore of a bucket that has begun and not ended.
type Restoration struct {
	Bucket string
	Since  time.Time
	Open   bool // the bucket is in use
	Intact bool // or it can be opened as it was
}

// Restoring takes in a restore that runs, or was killed.
func (x *Exam) Restoring(r Restoration) {
	f := Finding{
		Kind: BucketRestoring, Bucket: r.Bucket, What: "the bucket is closed: it is being restored, or that restore was killed",
		Why:  "a restore began at " + r.Since.UTC().Format(time.RFC3339) + ", and has not ended",
		Mend: "if no 'fleet restore' runs, go on with the folder of the backup: fleet restore DIR --replace --take-over --bucket " + r.Bucket,
	}
	back := "fleet restore DIR --give-back --bucket " + r.Bucket
	switch {
	case r.Open:
		f.What = "the bucket is in use, and marked as being restored: no other restore can begin"
		f.Mend = "if no 'fleet restore' runs, take the mark away, with the folder of any backup: " + back
	case r.Intact:
		f.Mend += "; or open the bucket as it was: " + back
	}
	x.add(f)
}

// Unreadable says that a bucket could not be looked at, or not read to its end.
func (x *Exam) Unreadable(bucket string, err error) {
	x.add(Finding{
		Kind: BucketUnreadable, Bucket: bucket, What: "the bucket could not be read: what is wrong in it is not all shown",
		Why: err.Error(), Mend: "look at the NATS server and at what this connection may do, or give it more time with --within",
	})
}

// Config takes in how a bucket is configured.
func (x *Exam) Config(c Config) {
	if len(c.Differences) > 0 {
		x.add(x.config(c))
	}
	switch {
	case c.Fleet == "":
		x.add(Finding{
			Kind: BucketConfig, Bucket: c.Bucket, What: "the bucket says of no fleet that it belongs to it",
			Why:  "the stream's metadata lacks fleet=" + x.Shell.namespace() + ": the operator did not create it",
			Mend: "delete it with the command: " + creator(c.Bucket) + " creates it anew, and it is filled again", Command: x.Shell.request(c.Delete),
		})
	case c.Fleet != x.Shell.namespace():
		x.add(Finding{
			Kind: BucketConfig, Bucket: c.Bucket, What: "the bucket belongs to another fleet",
			Why:  fmt.Sprintf("it belongs to fleet %q, the services to %q: one NATS account holds one fleet", c.Fleet, x.Shell.namespace()),
			Mend: "give each fleet an account of its own",
		})
	}
}

func (x *Exam) config(c Config) Finding {
	f := Finding{
		Kind: BucketConfig, Bucket: c.Bucket, What: "the bucket is not configured as it has to be",
		Why: strings.Join(c.Differences, "; "),
	}
	if c.Edit.Subject != "" {
		f.Mend = "the command changes these settings and nothing else"
		f.Command = x.Shell.request(c.Edit)
		return f
	}
	f.Mend = "the server does not let one change this: delete the bucket with the command; " + creator(c.Bucket) + " creates it anew, and it is filled again"
	f.Command = x.Shell.request(c.Delete)
	return f
}

// FleetOf returns the fleet that most of the names say.
func FleetOf(names []string) string {
	counts := map[string]int{}
	best := ""
	for _, n := range names {
		if n == "" {
			continue
		}
		counts[n]++
		if best == "" || counts[n] > counts[best] {
			best = n
		}
	}
	return best
}

func sorted(set map[string]bool) []string {
	var out []string
	for s := range set {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}
