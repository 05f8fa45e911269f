package kv

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// played is a pass whose messages and looks the test makes.
type played struct {
	*reading
	t    *testing.T
	view *recorder
	n    int
}

func play(t *testing.T, barrier uint64) *played {
	v := newRecorder()
	p := &played{t: t, view: v, reading: &reading{
		view: v, progress: &progress{}, index: newIndex(), moved: time.Now(),
		consumer: &consumer{bucket: fleet.BucketDeviceState, requested: 1000},
		guard:    newGuard(nil, nil, 0, nil),
		pass:     Pass{Number: 1, Created: stored, Barrier: barrier},
	}}
	p.index.begin(p.pass)
	return p
}

// bring delivers a message, stored at the time of creation.
func (p *played) bring(key string, revision uint64, h nats.Header) {
	p.t.Helper()
	p.n++
	m := &nats.Msg{
		Subject: fleet.KeySubject(fleet.BucketDeviceState, key), Header: h, Data: []byte("v"),
		Reply: fmt.Sprintf("$JS.ACK.KV_device-state.c.1.%d.%d.%d.0", revision, p.n, stored.UnixNano()),
	}
	if err := p.take(m); err != nil {
		p.t.Fatal(err)
	}
}

// look takes a look an hour after the creation.
func (p *played) look(l look) {
	p.t.Helper()
	l.created, l.at, l.existing = stored, stored.Add(time.Hour), l.last
	if err := p.judge(l); err != nil {
		p.t.Fatal(err)
	}
}

// Key c is rewritten while the pass is on its way to it, after the look: it comes only with revision 12.
// Nothing that the look cannot have seen makes up for it.
func TestPass_IsWholeWithTheKeysOfTheLookOnly(t *testing.T) {
	marker := nats.Header{headerMarker: {"MaxAge"}, headerTTL: {"60s"}}
	cases := map[string]struct {
		lure func(p *played)
		left int // keys there are in the end
	}{
		"a key that came after the look": {func(p *played) {
			p.bring("d", 11, nil)
			p.look(look{applied: 2, last: 10, subjects: 3})
		}, 4},
		"a key that came after the look that was waited for": {func(p *played) {
			p.look(look{applied: 2, last: 10, subjects: 3})
			p.bring("d", 11, nil)
		}, 4},
		"a marker that had ended at the look": {func(p *played) {
			p.bring("d", 10, marker)
			p.look(look{applied: 2, last: 10, subjects: 3})
		}, 3},
		"a value that had ended at the look": {func(p *played) {
			p.bring("d", 10, nats.Header{headerTTL: {"60s"}})
			p.look(look{applied: 2, last: 10, subjects: 3})
		}, 3},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := play(t, 10)
			p.bring("a", 1, nil)
			p.bring("b", 2, nil)
			if c.lure(p); p.synced {
				t.Fatalf("synced with %v", p.view.snapshot())
			}
			p.bring("c", 12, nil)
			p.look(look{applied: 11, last: 13, subjects: c.left})
			if p.synced {
				t.Fatal("synced before the view was where the look was taken")
			}
			p.bring("a", 14, nil)
			p.look(look{applied: 13, last: 14, subjects: c.left})
			if !p.synced {
				t.Error("not synced with every key")
			}
		})
	}
}
