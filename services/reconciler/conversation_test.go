package main

import (
	"bytes"
	"regexp"
	"sync"

	"harmony.dev/fleet/fleettest/proxy"
)

// conversation is what clients and a NATS server said through a proxy.
type conversation struct {
	mu            sync.Mutex
	sent, answers bytes.Buffer
}

// listen keeps what is said through a proxy from now on.
func listen(p *proxy.Proxy) *conversation {
	c := &conversation{}
	keep := func(to *bytes.Buffer) func([]byte) {
		return func(b []byte) {
			c.mu.Lock()
			defer c.mu.Unlock()
			to.Write(b)
		}
	}
	p.Watch(keep(&c.sent), keep(&c.answers))
	return c
}

// refused reports whether the server has refused, by its condition, what a client published on this
// subject.
func (c *conversation) refused(subject string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	publish := regexp.MustCompile(`HPUB ` + regexp.QuoteMeta(subject) + ` (\S+) `)
	for _, m := range publish.FindAllSubmatch(c.sent.Bytes(), -1) {
		answer := regexp.MustCompile(`MSG ` + regexp.QuoteMeta(string(m[1])) + ` [^\r]*\r\n[^\r]*"err_code":10071`)
		if answer.Match(c.answers.Bytes()) {
			return true
		}
	}
	return false
}
