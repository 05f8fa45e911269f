package sweep

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Effect is something that a process changed, or a delivery to it. The same effect comes in every story, so two
// are compared with ==.
type Effect struct {
	Service string
	What    string // with the story's name left out: "write desired-state/story-0001.story-web", "PATCH deployments/story-web/status"
	N       int    // from 1, among those of its service that are alike in this story
}

func (e Effect) String() string { return fmt.Sprintf("%s: %s (%d)", e.Service, e.What, e.N) }

// observer sees what one process does, on its way to NATS and to the apiserver.
type observer struct {
	service string

	mu         sync.Mutex
	replies    map[string]string // reply subject to the subject that was published
	effects    []Effect
	deliveries []Effect
	onEffect   func(Effect)      // called before the process learns of it; may block
	onDelivery func(Effect) bool // called before it is passed on; false loses it
}

// observe starts to watch an instance.
func observe(i *lab.Instance) *observer {
	o := &observer{service: i.Service(), replies: map[string]string{}}
	i.NATS.Filter(o.sent, o.answered)
	if i.Kube != nil {
		i.Kube.OnDone(o.written)
	}
	return o
}

// begin forgets what was counted, and sets what happens from now on.
func (o *observer) begin(onEffect func(Effect), onDelivery func(Effect) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.effects, o.deliveries, o.onEffect, o.onDelivery = nil, nil, onEffect, onDelivery
}

// counted returns what happened since begin.
func (o *observer) counted() (effects, deliveries []Effect) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Effect(nil), o.effects...), append([]Effect(nil), o.deliveries...)
}

// The protocol of NATS, as far as it is of interest here. What clients and servers flush at once arrives at once, so a
// line that is torn apart is rare; a missed effect then is one case less in the sweep.
var (
	publish   = regexp.MustCompile(`HPUB (\$KV\.\S+) (\S+) \d+ \d+\r\n`)
	answer    = regexp.MustCompile(`MSG (\S+) [^\r]*\r\n\{"stream":"KV_`)
	storyName = regexp.MustCompile(`\bs\d{3}\b`) // see [theatre.story]

	delivery = regexp.MustCompile(`MSG (\$KV\.\S+) `)
)

func (o *observer) sent(b []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range publish.FindAllSubmatch(b, -1) {
		o.replies[string(m[2])] = string(m[1])
	}
	return true
}

func (o *observer) answered(b []byte) bool {
	for _, m := range answer.FindAllSubmatch(b, -1) {
		o.mu.Lock()
		subject, ours := o.replies[string(m[1])]
		delete(o.replies, string(m[1]))
		o.mu.Unlock()
		if what, counts := keyOf(subject); ours && counts && !bytes.Contains(m[0], []byte(`"error"`)) {
			o.effect("write " + what)
		}
	}
	pass := true
	for _, m := range delivery.FindAllSubmatch(b, -1) {
		if what, counts := keyOf(string(m[1])); counts && !strings.Contains(what, "heartbeat") {
			pass = o.delivered(what) && pass
		}
	}
	return pass
}

// keyOf names the key of a subject; leases and epochs come by time and do not count.
func keyOf(subject string) (what string, counts bool) {
	bucket, key, ok := strings.Cut(strings.TrimPrefix(subject, "$KV."), ".")
	return bucket + "/" + key, ok && key != fleet.KeyLease && key != fleet.KeyEpoch && key != fleet.KeySynced
}

func (o *observer) written(r *http.Request, status int) {
	if r.Method == http.MethodGet || status >= http.StatusBadRequest || !strings.Contains(r.URL.Path, "/"+fleet.Group+"/") {
		return
	}
	_, path, _ := strings.Cut(r.URL.Path, "/namespaces/")
	_, path, _ = strings.Cut(path, "/")
	o.effect(r.Method + " " + path)
}

func (o *observer) effect(what string) {
	o.mu.Lock()
	e := o.next(what, o.effects)
	o.effects = append(o.effects, e)
	f := o.onEffect
	o.mu.Unlock()
	if f != nil {
		f(e)
	}
}

// next makes the effect that follows those of before.
func (o *observer) next(what string, before []Effect) Effect {
	e := Effect{Service: o.service, What: storyName.ReplaceAllString(what, "story"), N: 1}
	for _, b := range before {
		if b.What == e.What {
			e.N++
		}
	}
	return e
}

func (o *observer) delivered(what string) bool {
	o.mu.Lock()
	e := o.next(what, o.deliveries)
	o.deliveries = append(o.deliveries, e)
	f := o.onDelivery
	o.mu.Unlock()
	return f == nil || f(e)
}
