package record

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"harmony.dev/fleet"
)

const (
	streamPoll    = 250 * time.Millisecond // between looks at a stream as a whole
	streamTimeout = 2 * time.Second
)

// streamTap records the operations on one bucket.
type streamTap struct {
	recorder *Recorder
	bucket   string

	incarnation int
	created     time.Time
	next        uint64 // sequence that is expected next
	consumers   int
	empty       bool
	state       StreamKind // last recorded of found, gone and unreadable
}

func (s *streamTap) run(ctx context.Context) {
	js, err := jetstream.New(s.recorder.cfg.NATS)
	if err != nil {
		return // only for bad options
	}
	for {
		s.read(ctx, js)
		if !pause(ctx, streamPoll/5) {
			return
		}
	}
}

// read follows the stream until its consumer fails or the stream is another one.
func (s *streamTap) read(ctx context.Context, js jetstream.JetStream) {
	stream, info, err := s.look(ctx, js)
	if err != nil {
		return
	}
	s.identify(info)
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(s.next, 1),
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 10 * time.Second,
	})
	if err != nil {
		return
	}
	name := consumer.CachedInfo().Name
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), streamTimeout)
		defer cancel()
		_ = stream.DeleteConsumer(ctx, name) // else it goes by itself
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, err := consumer.Messages(jetstream.PullHeartbeat(500*time.Millisecond), jetstream.PullExpiry(time.Second))
	if err != nil {
		return
	}
	defer messages.Stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer messages.Stop()
		s.follow(ctx, js)
	}()
	defer func() { cancel(); <-done }()
	for {
		m, err := messages.Next()
		if err != nil {
			return
		}
		s.take(m)
	}
}

// follow returns when the stream is no longer the one that is read, and records how many read it.
func (s *streamTap) follow(ctx context.Context, js jetstream.JetStream) {
	for pause(ctx, streamPoll) {
		_, info, err := s.look(ctx, js)
		if err != nil || s.another(info) {
			return
		}
	}
}

// look asks for the stream, and records when it is gone or does not answer.
func (s *streamTap) look(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, *jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	stream, err := js.Stream(ctx, fleet.StreamName(s.bucket))
	s.recorder.mu.Lock()
	defer s.recorder.mu.Unlock()
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		s.become(StreamGone)
		return nil, nil, err
	case err != nil:
		s.become(StreamUnreadable)
		return nil, nil, err
	}
	info := stream.CachedInfo()
	if n := max(info.State.Consumers-1, 0); n != s.consumers { // without the recorder's own
		s.consumers = n
		s.note(Stream{Kind: StreamConsumers, Consumers: n})
	}
	if empty := info.State.Msgs == 0; empty != s.empty {
		if s.empty = empty; empty && s.next > 1 {
			s.note(Stream{Kind: StreamEmptied})
		}
	}
	return stream, info, nil
}

// become records a change of what the stream is. The recorder's lock is held.
func (s *streamTap) become(kind StreamKind) {
	if s.state != kind && s.incarnation > 0 {
		s.note(Stream{Kind: kind})
	}
	s.state = kind
}

// note records a stream event. The recorder's lock is held.
func (s *streamTap) note(e Stream) {
	e.Bucket, e.Incarnation = s.bucket, s.incarnation
	s.recorder.events = append(s.recorder.events, Event{At: time.Now(), Stream: &e})
}

// another reports whether this is not the stream of the present incarnation.
func (s *streamTap) another(info *jetstream.StreamInfo) bool {
	s.recorder.mu.Lock()
	defer s.recorder.mu.Unlock()
	return s.incarnation == 0 || !info.Created.Equal(s.created) || info.State.LastSeq+1 < s.next
}

// identify begins a new incarnation unless the stream goes on where it was.
func (s *streamTap) identify(info *jetstream.StreamInfo) {
	fresh := s.another(info)
	s.recorder.mu.Lock()
	defer s.recorder.mu.Unlock()
	if fresh {
		s.incarnation++
		s.created, s.next, s.state = info.Created, 0, ""
	}
	s.become(StreamFound)
}

// KindOf tells from its headers what a message of a bucket's stream does to its key.
func KindOf(h nats.Header) OpKind {
	switch {
	case h.Get("Nats-Marker-Reason") != "":
		return OpExpire
	case h.Get("KV-Operation") != "":
		return OpDelete
	}
	return OpPut
}

// take records one message.
func (s *streamTap) take(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		return // no message of a stream
	}
	seq := meta.Sequence.Stream
	op := Op{
		Bucket: s.bucket, Key: strings.TrimPrefix(m.Subject(), "$KV."+s.bucket+"."), Kind: KindOf(m.Headers()),
		Revision: seq, Value: string(m.Data()), Stamp: meta.Timestamp, Cause: fleet.Cause(m.Headers().Get(fleet.HeaderCause)),
	}
	if epoch, err := fleet.ParseEpoch(m.Headers().Get(fleet.HeaderEpoch)); err == nil {
		op.Epoch = epoch
	}
	s.recorder.mu.Lock()
	defer s.recorder.mu.Unlock()
	op.Incarnation = s.incarnation
	if s.next > 0 && seq > s.next {
		op.Missed = seq - s.next
	}
	s.next = seq + 1
	s.recorder.events = append(s.recorder.events, Event{At: time.Now(), Op: &op})
}
