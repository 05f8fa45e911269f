package kv

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"harmony.dev/fleet"
)

const (
	// pullBytes bounds what may lie between the server and the view, in bytes; pullMost in messages.
	pullBytes = 256 << 20
	pullMost  = 32_768
	// pullExpires is how long a request for messages stands before it is sent again.
	pullExpires = 30 * time.Second
	// heartbeat is how often an idle consumer says that it is there; heartbeatsMissed of them may fail.
	heartbeat        = 500 * time.Millisecond
	heartbeatsMissed = 5
	// inactiveThreshold is when the server drops a consumer that nobody pulls from.
	inactiveThreshold = 30 * time.Second
	// controlRoom is room for the consumer's own messages beside those of the stream.
	controlRoom = 1024
)

// consumer is one ephemeral pull consumer: the last message of each subject, then what follows. It
// needs no acknowledgement, lives in memory, and goes by itself when nobody pulls.
type consumer struct {
	nc     *nats.Conn
	bucket string
	name   string
	inbox  string
	next   string // subject to ask for messages on
	msgs   chan *nats.Msg
	sub    *nats.Subscription

	batch     int    // messages asked for at most
	requested int    // messages asked for that have not come yet
	sequence  uint64 // of the last message, in the consumer
	pending   uint64 // messages after it
	beats     int    // messages of any kind since the last call of alive
	missed    int
}

// openConsumer creates a consumer and its subscription. Nothing is delivered before pull.
func openConsumer(ctx context.Context, b *Bucket, filter []string) (*consumer, error) {
	name := nuid.Next()
	stream := fleet.StreamName(b.name)
	c := &consumer{
		nc: b.nc, bucket: b.name, name: name, inbox: b.nc.NewInbox(),
		next:  fmt.Sprintf(api.JSApiRequestNextT, stream, name),
		batch: min(pullMost, pullBytes/maxValueSize(b.name)),
	}
	c.msgs = make(chan *nats.Msg, c.batch+controlRoom)
	sub, err := b.nc.ChanSubscribe(c.inbox, c.msgs)
	if err != nil {
		return nil, fmt.Errorf("subscribe to the consumer's inbox: %w", err)
	}
	c.sub = sub
	req := api.JSApiConsumerCreateRequest{Stream: stream, Config: consumerConfig(b.name, name, filter)}
	resp, err := call[api.JSApiConsumerCreateResponse](ctx, b.nc, fmt.Sprintf(api.JSApiConsumerCreateWithNameT, stream, name), req)
	if err != nil {
		// The request may have reached the server all the same.
		c.close(ctx)
		return nil, fmt.Errorf("create a consumer: %w", err)
	}
	if resp.ConsumerInfo != nil {
		c.pending = resp.NumPending
	}
	return c, nil
}

func consumerConfig(bucket, name string, filter []string) api.ConsumerConfig {
	cfg := api.ConsumerConfig{
		Name:              name,
		DeliverPolicy:     api.DeliverLastPerSubject,
		AckPolicy:         api.AckNone,
		ReplayPolicy:      api.ReplayInstant,
		MaxDeliver:        -1,
		InactiveThreshold: inactiveThreshold,
		MemoryStorage:     true,
		Replicas:          1,
	}
	for _, pattern := range patterns(filter) {
		cfg.FilterSubjects = append(cfg.FilterSubjects, fleet.KeySubject(bucket, pattern))
	}
	return cfg
}

// pull keeps two requests of half a batch with the server, so that it never waits for the next one.
func (c *consumer) pull() error {
	for c.requested <= c.batch/2 {
		n := max(c.batch/2, 1)
		req, err := json.Marshal(api.JSApiConsumerGetNextRequest{Batch: n, Expires: pullExpires, Heartbeat: heartbeat})
		if err != nil {
			return fmt.Errorf("encode a pull request: %w", err)
		}
		if err := c.nc.PublishRequest(c.next, c.inbox, req); err != nil {
			return fmt.Errorf("ask the consumer for messages: %w", err)
		}
		c.requested += n
	}
	return nil
}

// decode turns what came on the inbox into a message of the bucket; ok is false for a status of the
// consumer. An error means that the consumer cannot be relied on any more.
func (c *consumer) decode(m *nats.Msg) (msg Message, ok bool, err error) {
	c.beats++
	if !isDelivery(m) {
		return Message{}, false, c.status(m)
	}
	d, err := parseDelivery(m.Reply)
	if err != nil {
		return Message{}, false, err
	}
	if d.sequence != c.sequence+1 {
		return Message{}, false, fmt.Errorf("messages were lost: after number %d of the consumer came %d", c.sequence, d.sequence)
	}
	c.sequence, c.pending = d.sequence, d.pending
	c.requested--
	msg = Message{Revision: d.revision, Time: d.time, Op: operation(m.Header), Header: m.Header}
	msg.Key, ok = fleet.SubjectKey(c.bucket, m.Subject)
	if !ok {
		return Message{}, false, fmt.Errorf("subject %q is not of the bucket", m.Subject)
	}
	if msg.Op == Put {
		msg.Value = m.Data
	}
	if unreadable(m) {
		msg.Header = nats.Header{headerTTL: nil}
	}
	return msg, true, c.pull()
}

// unreadable reports whether a message has headers that the client cannot read. The server may find a TTL
// among them.
func unreadable(m *nats.Msg) bool {
	return m.Header == nil && m.Size() > len(m.Subject)+len(m.Reply)+len(m.Data)
}

// status handles a message of the consumer itself (ADR-13).
func (c *consumer) status(m *nats.Msg) error {
	switch code := m.Header.Get("Status"); code {
	case "100": // idle heartbeat
		return nil
	case "408", "404": // a request expired: what it still wanted does not come any more
		left, _ := parseUint(m.Header.Get("Nats-Pending-Messages"))
		c.requested -= int(min(left, uint64(max(c.requested, 0))))
		return c.pull()
	default:
		return fmt.Errorf("the consumer ended: %s %s", code, m.Header.Get("Description"))
	}
}

// alive is called every heartbeat and returns an error when too many have failed.
func (c *consumer) alive() error {
	if c.beats > 0 {
		c.beats, c.missed = 0, 0
		return nil
	}
	if c.missed++; c.missed >= heartbeatsMissed {
		return fmt.Errorf("the consumer has been silent for %s", heartbeat*heartbeatsMissed)
	}
	return nil
}

// close ends the subscription and deletes the consumer. It reports whether the consumer is gone for sure.
func (c *consumer) close(ctx context.Context) bool {
	_ = c.sub.Unsubscribe() // fails only on a closed connection, which has none
	return deleteConsumer(ctx, c.nc, c.bucket, c.name)
}

// deleteConsumer deletes a consumer also when ctx has ended.
func deleteConsumer(ctx context.Context, nc *nats.Conn, bucket, name string) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	subject := fmt.Sprintf(api.JSApiConsumerDeleteT, fleet.StreamName(bucket), name)
	_, err := call[api.JSApiConsumerDeleteResponse](ctx, nc, subject, struct{}{})
	return err == nil || api.IsNatsErr(err, codeConsumerNotFound, codeStreamNotFound)
}
