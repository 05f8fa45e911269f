package kv

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/jsm.go/api"

	"harmony.dev/fleet"
)

const (
	// guardConfirm is how many looks in a row must find the numbers of a stream wrong, and guardAgain
	// how long it takes to the next look: an expiring message is replaced by its marker in two steps,
	// and a new leader may be a moment behind.
	guardConfirm = 3
	guardAgain   = 150 * time.Millisecond
	// guardBlind is how many looks in a row may fail before the pass counts as unguarded.
	guardBlind = 3
	// guardStalled is how long the consumer may deliver nothing although there is something.
	guardStalled = 10 * time.Second
)

// look is what one look at the stream found.
type look struct {
	applied  uint64    // what the view had applied before
	stamp    time.Time // the server's stamp on the last of it
	floor    uint64    // what last cannot be below: known before
	at       time.Time // the server's clock
	created  time.Time
	last     uint64 // last sequence; with a filter, that of the last message that passes it
	existing uint64 // sequence of the last message that exists (and passes the filter); at most last
	subjects int    // subjects that have a message (and pass the filter)
	marks    bool   // where the TTL of a value ends, the server leaves a marker
	err      error
}

// caughtUp returns a time of the server up to which the view was caught up before the look: of what was
// stored by then, all that was still there had been applied. A stream that is written without pause is
// never seen at rest. There it is the stamp of the newest message, which a key escapes that is written
// again and again, each time before its last message is read. In a bucket of the devices that matters to
// the writer alone; in one with markers absence means more, and there is time to wait for rest.
func (l look) caughtUp() time.Time {
	switch {
	case l.applied >= l.existing:
		return l.at
	case l.marks:
		return time.Time{}
	}
	return l.stamp
}

// guard looks at a stream from time to time, beside the goroutine that reads it.
type guard struct {
	bucket   *Bucket
	filter   []string
	poll     time.Duration
	progress *progress
	ask      chan bool // look now; true: also for the last message that exists
	looks    chan look
	greatest uint64 // last sequence that a look has found
}

func newGuard(b *Bucket, filter []string, poll time.Duration, p *progress) *guard {
	return &guard{bucket: b, filter: filter, poll: poll, progress: p, ask: make(chan bool, 1), looks: make(chan look)}
}

// lookNow asks for a look. It does not block: when one is already asked for, that one serves.
func (g *guard) lookNow(exact bool) {
	select {
	case g.ask <- exact:
	default:
	}
}

// lookAgain asks for a look in a moment.
func (g *guard) lookAgain() { time.AfterFunc(guardAgain, func() { g.lookNow(false) }) }

func (g *guard) run(ctx context.Context) {
	tick := time.NewTicker(g.poll)
	defer tick.Stop()
	for {
		exact := false
		select {
		case <-ctx.Done():
			return
		case exact = <-g.ask:
		case <-tick.C:
		}
		l := g.look(ctx, exact)
		select {
		case <-ctx.Done():
			return
		case g.looks <- l:
		}
	}
}

// look reads the stream's state from its leader. The view's own position is taken before, so that
// what it says of the stream is not older.
func (g *guard) look(ctx context.Context, exact bool) look {
	l := look{floor: g.greatest}
	l.applied, l.stamp = g.progress.reached()
	if len(g.filter) > 0 {
		l.last, l.err = g.lastExisting(ctx)
		l.existing = l.last
	}
	if l.err == nil {
		l.err = g.readState(ctx, &l)
	}
	if exact && l.err == nil && len(g.filter) == 0 && l.existing > l.applied {
		l.existing, l.err = g.lastExisting(ctx)
	}
	if l.err == nil {
		g.greatest = max(g.greatest, l.last)
	}
	return l
}

// readState reads when the stream was created, how far it is, and how many subjects it has. With a
// filter how far it is was read before: a subject more than there were is no harm.
func (g *guard) readState(ctx context.Context, l *look) error {
	info, err := g.bucket.info(ctx)
	if err != nil {
		return err
	}
	l.at, l.created, l.marks = info.TimeStamp, info.Created, info.Config.SubjectDeleteMarkerTTL > 0
	if len(g.filter) > 0 {
		l.subjects, err = g.countSubjects(ctx)
		return err
	}
	l.floor = max(l.floor, l.applied)
	l.last, l.existing, l.subjects = info.State.LastSeq, info.State.LastSeq, info.State.NumSubjects
	if info.State.Msgs == 0 {
		l.existing = 0
	}
	return nil
}

// lastExisting returns the sequence of the last message that is really there, 0 when there is none.
func (g *guard) lastExisting(ctx context.Context) (uint64, error) {
	var last uint64
	for _, pattern := range patterns(g.filter) {
		m, err := g.bucket.last(ctx, pattern)
		if err != nil {
			return 0, err
		}
		if m != nil {
			last = max(last, m.Sequence)
		}
	}
	return last, nil
}

// countSubjects counts without having the names sent: the page asked for begins after the last one.
func (g *guard) countSubjects(ctx context.Context) (int, error) {
	total := 0
	for _, pattern := range g.filter {
		req := api.JSApiStreamInfoRequest{SubjectsFilter: fleet.KeySubject(g.bucket.name, pattern)}
		req.Offset = 1 << 40
		resp, err := g.bucket.streamInfo(ctx, req)
		if err != nil {
			return 0, err
		}
		total += resp.Total
	}
	return total, nil
}

// patterns returns the key patterns that a filter stands for.
func patterns(filter []string) []string {
	if len(filter) == 0 {
		return []string{">"}
	}
	return filter
}

// knowledge is what a pass knows of its stream.
type knowledge struct {
	created  time.Time
	position uint64 // everything up to this sequence is applied
	subjects int    // subjects in view that the stream must have
	found    int    // subjects of the look that this pass has brought, while it is not synced
	changed  uint64 // revision of the last message that changed how many subjects there are
	synced   bool
}

// verdict is what a look means for a pass.
type verdict uint8

const (
	sound   verdict = iota
	behind          // the view has not come to where the look was taken: judge it then
	suspect         // wrong numbers, which may still right themselves
	broken          // another stream
)

// judge compares a look with what the pass knows. The view must never have more subjects than the
// stream had at a position that both have reached. Markers count: else a purged value would hide
// behind them. Those that may have expired do not: they go without a word.
func judge(k knowledge, l look) (verdict, string) {
	switch {
	case !l.created.Equal(k.created):
		return broken, "the stream was created again"
	case l.last < l.floor:
		return suspect, fmt.Sprintf("the stream's last sequence went back from %d to %d", l.floor, l.last)
	case l.last > k.position:
		return behind, ""
	case !k.synced:
		return sound, ""
	}
	// Between the look and now each message has added one subject at most.
	least := k.subjects
	if k.changed > l.last {
		least -= int(min(k.position-l.last, uint64(k.subjects)))
	}
	if l.subjects < least {
		return suspect, fmt.Sprintf("keys were removed without a marker: %d are left of at least %d", l.subjects, least)
	}
	return sound, ""
}

// complete reports whether a look shows that the pass has brought every key. That everything up to a
// sequence was delivered does not show it: a value that is replaced while the reader is on its way
// is skipped, and the one that replaced it lies further on.
func complete(k knowledge, l look) bool {
	if l.applied >= l.existing {
		return true // all that existed had been delivered before the look
	}
	return k.position >= l.last && k.found >= l.subjects
}
