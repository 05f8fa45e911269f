package kv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// flushEvery is after how many messages at most others see the progress.
const flushEvery = 512

// reading is one pass while it runs. All of it belongs to the reflector's goroutine.
type reading struct {
	view     View
	progress *progress
	index    *index
	consumer *consumer
	guard    *guard

	pass     Pass
	position uint64
	stamp    time.Time // of the last message
	done     uint64
	synced   bool
	awaited  *look     // a look from further on in the stream than the view is
	suspects int       // looks in a row that found wrong numbers
	blind    int       // looks in a row that failed
	moved    time.Time // when a look found the view further than the look before
	movedTo  uint64
	quiet    bool // no message came since the last tick
	arrived  bool // the barrier is applied
}

// open prepares a pass: the consumer first, then the barrier.
func (r *Reflector) open(ctx context.Context) (*reading, error) {
	b := r.cfg.Bucket
	c, err := openConsumer(ctx, b, r.cfg.Filter)
	if err != nil {
		return nil, err
	}
	info, err := b.info(ctx)
	if err != nil {
		r.dispose(ctx, c)
		return nil, err
	}
	p := &reading{
		view: r.cfg.View, progress: &r.progress, index: r.index, consumer: c,
		guard: newGuard(b, r.cfg.Filter, r.cfg.Poll, &r.progress), moved: time.Now(),
		pass: Pass{
			Number: r.pass.Number + 1, Created: info.Created, Barrier: info.State.LastSeq,
			NewIncarnation: r.isNew(info.Created, info.State.LastSeq),
		},
	}
	p.pass.Restored = restoredTo(r.pass, p.pass, info.Config)
	return p, nil
}

// restoredTo says how much of a stream came with a backup: what 'fleet restore' has noted, or all that was there when it was found
// to have been set back in place.
func restoredTo(before, now Pass, cfg api.StreamConfig) uint64 {
	upTo, _ := strconv.ParseUint(cfg.Metadata[fleet.MetadataRestored], 10, 64) // 0 without one
	switch {
	case !now.Created.Equal(before.Created):
		return upTo
	case now.NewIncarnation:
		return now.Barrier
	}
	return max(upTo, before.Restored)
}

// run reads until the pass ends and returns why. It is never nil.
func (p *reading) run(ctx context.Context, connection <-chan nats.Status, advisories <-chan *nats.Msg) error {
	if err := p.consumer.pull(); err != nil {
		return err
	}
	if p.consumer.pending == 0 {
		p.guard.lookNow(true)
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	hurry := time.NewTimer(heartbeat / 5)
	defer hurry.Stop()
	for {
		if err := p.drain(); err != nil {
			return err
		}
		p.flush()
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-p.consumer.msgs:
			err = p.take(m)
		case l := <-p.guard.looks:
			err = p.judge(l)
		case s := <-connection:
			err = fmt.Errorf("%w: the connection is %s", errDisconnected, strings.ToLower(s.String()))
		case m := <-advisories:
			p.advised(m)
		case <-tick.C:
			err = p.consumer.alive()
		case <-hurry.C:
			p.hurry(hurry)
		}
		if err != nil {
			return err
		}
	}
}

// drain takes messages while there are some, without looking at anything else, up to a limit.
func (p *reading) drain() error {
	for range flushEvery {
		select {
		case m := <-p.consumer.msgs:
			if err := p.take(m); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

// take applies one message.
func (p *reading) take(m *nats.Msg) error {
	msg, ok, err := p.consumer.decode(m)
	if !ok {
		return err
	}
	p.quiet = false
	p.index.apply(&msg)
	p.view.Apply(msg)
	p.position, p.stamp = msg.Revision, msg.Time
	p.done++
	if !p.synced && !p.arrived && p.position >= p.pass.Barrier {
		p.arrived = true
		p.lookExactly()
	}
	if err == nil && p.awaited != nil && p.position >= p.awaited.last {
		l := *p.awaited
		p.awaited = nil
		err = p.judge(l)
	}
	return err
}

// finish sweeps and says that the view is whole.
func (p *reading) finish() {
	for _, m := range p.index.sweep() {
		p.view.Apply(m)
	}
	p.synced = true
	p.position = max(p.position, p.pass.Barrier)
	p.view.Synced(p.pass)
	p.flush()
}

// flush shows the progress to others.
func (p *reading) flush() {
	total := p.done + p.consumer.pending
	p.progress.update(func(g *progress) {
		g.synced, g.position, g.stamp = p.synced, p.position, p.stamp
		g.done, g.total, g.entries = p.done, total, p.index.entries()
		if p.synced {
			g.reason = ""
		}
	})
}

// hurry looks whether the view is whole, when the barrier is reached or when there is nothing more to
// read: the message at the barrier may be gone by now.
func (p *reading) hurry(t *time.Timer) {
	if p.synced {
		return
	}
	if p.quiet || p.arrived {
		p.lookExactly()
	}
	p.quiet = true
	t.Reset(heartbeat / 5)
}

// lookExactly looks at once, from the present position.
func (p *reading) lookExactly() {
	p.flush()
	p.guard.lookNow(true)
}

// advised looks at the stream at once when the server says that it was created or deleted.
func (p *reading) advised(m *nats.Msg) {
	if strings.Contains(m.Subject, ".DELETED.") || strings.Contains(m.Subject, ".CREATED.") {
		p.guard.lookNow(false)
	}
}

// judge draws the consequence of a look.
func (p *reading) judge(l look) error {
	if l.err != nil {
		return p.blinded(l.err)
	}
	p.blind = 0
	k := knowledge{created: p.pass.Created, position: p.position, changed: p.index.changed, synced: p.synced}
	if p.synced {
		k.subjects = p.index.least(l)
	} else {
		k.found = p.index.found(l)
	}
	v, what := judge(k, l)
	if v == broken {
		return errors.New(what)
	}
	if v == suspect {
		return p.suspect(what)
	}
	p.suspects = 0
	if !p.synced && complete(k, l) {
		p.finish()
	}
	if v == behind {
		p.awaited = &l
		return p.stall()
	}
	p.awaited, p.moved = nil, time.Now()
	if p.synced {
		p.expire(l)
	}
	return nil
}

// expire tells the view what has gone without a word.
func (p *reading) expire(l look) {
	for _, m := range p.index.ended(l) {
		p.view.Apply(m)
	}
}

// suspect counts looks in a row that found wrong numbers.
func (p *reading) suspect(what string) error {
	if p.suspects++; p.suspects >= guardConfirm {
		return errors.New(what)
	}
	p.guard.lookAgain()
	return nil
}

// blinded counts looks that failed.
func (p *reading) blinded(err error) error {
	if errors.Is(err, ErrBucketMissing) {
		return err
	}
	if p.blind++; p.blind >= guardBlind {
		return fmt.Errorf("look at the stream: %w", err)
	}
	return nil
}

// stall ends the pass when there has been something to read for long and nothing came.
func (p *reading) stall() error {
	if p.position != p.movedTo {
		p.movedTo, p.moved = p.position, time.Now()
	}
	if time.Since(p.moved) > guardStalled {
		return fmt.Errorf("the consumer delivers nothing after sequence %d", p.position)
	}
	return nil
}

// advisorySubject is where the server tells of the stream's creation and deletion.
func advisorySubject(bucket string) string {
	return "$JS.EVENT.ADVISORY.STREAM.*." + fleet.StreamName(bucket)
}
