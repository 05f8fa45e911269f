package proxy

import (
	"bytes"
	"regexp"
	"sync"
)

// Conversation is what clients and NATS servers said through proxies.
type Conversation struct {
	mu            sync.Mutex
	sent, answers bytes.Buffer
	on            []byte // what is waited for
	then          func()
}

// How a message is answered that comes too late; %s stands for the subject of the answer.
const (
	WrongSequence = `MSG %s [^\r]*\r\n[^\r]*"err_code":10071` // by the server: the fence
	StaleEpoch    = `HMSG %s [^\r]*\r\n(?:[^\r\n]+\r\n)*Nats-Service-Error-Code: ?412`
)

// Listen keeps what is said from now on through any of the proxies. It takes the place of [Proxy.Watch].
func Listen(proxies ...*Proxy) *Conversation {
	c := &Conversation{}
	for _, p := range proxies {
		p.Watch(c.said, c.heard)
	}
	return c
}

// OnSent calls f once, when a client is about to send something on a subject.
func (c *Conversation) OnSent(subject string, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on, c.then = []byte("PUB "+subject+" "), f
}

// Answered reports whether a message that a client sent on a subject was answered so.
func (c *Conversation) Answered(subject, answer string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	published := regexp.MustCompile(`PUB ` + regexp.QuoteMeta(subject) + ` (\S+) `)
	for _, m := range published.FindAllSubmatch(c.sent.Bytes(), -1) {
		pattern := bytes.Replace([]byte(answer), []byte("%s"), []byte(regexp.QuoteMeta(string(m[1]))), 1)
		if regexp.MustCompile(string(pattern)).Match(c.answers.Bytes()) {
			return true
		}
	}
	return false
}

func (c *Conversation) said(b []byte) {
	c.mu.Lock()
	c.sent.Write(b)
	var then func()
	if c.then != nil && bytes.Contains(b, c.on) {
		then, c.then = c.then, nil
	}
	c.mu.Unlock()
	if then != nil {
		then()
	}
}

func (c *Conversation) heard(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers.Write(b)
}
