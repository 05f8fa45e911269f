package link

import (
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// errNotSent says that a call ended before it left.
var errNotSent = errors.New("not sent")

// call is a message that wants an answer. done is called once, with the answer or nil, unless the
// connection goes.
type call struct {
	subject string
	data    []byte
	done    func(*nats.Msg, error)

	token    string // of its reply subject; "" while it waits to be sent
	deadline time.Time
	over     bool
}

// calls are the calls of a kind. At most window are under way; the others wait in turn. The link's
// lock guards it.
type calls struct {
	nc      *nats.Conn
	inbox   string // prefix of the reply subjects
	window  int
	timeout time.Duration

	last     uint64 // token
	flying   map[string]*call
	waiting  []*call
	deadline []*call // all of them, the oldest first, and some that are over
}

func newCalls(nc *nats.Conn, window int, timeout time.Duration) *calls {
	return &calls{nc: nc, inbox: nc.NewInbox() + ".", window: window, timeout: timeout, flying: map[string]*call{}}
}

func (c *calls) begin(x *call) {
	x.deadline = time.Now().Add(c.timeout)
	c.deadline = append(c.deadline, x)
	c.waiting = append(c.waiting, x)
	c.send()
}

// send sends what waits while there is room.
func (c *calls) send() {
	for len(c.waiting) > 0 && len(c.flying) < c.window {
		x := c.waiting[0]
		c.waiting = c.waiting[1:]
		if x.over {
			continue
		}
		c.last++
		x.token = strconv.FormatUint(c.last, 36)
		c.flying[x.token] = x
		if err := c.nc.PublishRequest(x.subject, c.inbox+x.token, x.data); err != nil {
			c.end(x, nil, errNotSent)
		}
	}
}

func (c *calls) answered(token string, m *nats.Msg) {
	if x, ok := c.flying[token]; ok {
		c.end(x, m, nil)
		c.send()
	}
}

func (c *calls) end(x *call, m *nats.Msg, err error) {
	delete(c.flying, x.token)
	x.over = true
	x.data = nil
	x.done(m, err)
}

// expire ends the calls that have waited too long.
func (c *calls) expire(now time.Time) {
	for len(c.deadline) > 0 {
		x := c.deadline[0]
		if !x.over && now.Before(x.deadline) {
			break
		}
		c.deadline = c.deadline[1:]
		switch {
		case x.over:
		case x.token == "":
			c.end(x, nil, errNotSent)
		default:
			c.end(x, nil, nil)
		}
	}
	c.send()
}

// clear forgets every call.
func (c *calls) clear() {
	clear(c.flying)
	c.waiting, c.deadline = nil, nil
}
