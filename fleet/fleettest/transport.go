package fleettest

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// transportMessages is how many messages a measurement of the transport reads.
const transportMessages = 50_000

// Transport measures what everything else is compared with: how long it takes to read one message of
// this size from a stream, with a bare push consumer and a handler that does nothing, server and reader
// on this machine.
func Transport(b testing.TB, doc []byte) time.Duration {
	b.Helper()
	js, err := NATS(b).Conn(b).JetStream(nats.PublishAsyncMaxPending(1024))
	if err != nil {
		b.Fatalf("set up JetStream: %v", err)
	}
	const subject = "transport.pi-07.web"
	if _, err := js.AddStream(&nats.StreamConfig{Name: "transport", Subjects: []string{subject}, Storage: nats.MemoryStorage}); err != nil {
		b.Fatalf("create a stream: %v", err)
	}
	for range transportMessages {
		if _, err := js.PublishAsync(subject, doc, nats.StallWait(10*time.Second)); err != nil {
			b.Fatalf("publish: %v", err)
		}
	}
	<-js.PublishAsyncComplete()
	done, got := make(chan struct{}), 0
	begin := time.Now()
	sub, err := js.Subscribe(subject, func(*nats.Msg) {
		if got++; got == transportMessages {
			close(done)
		}
	}, nats.BindStream("transport"), nats.DeliverAll(), nats.OrderedConsumer())
	if err != nil {
		b.Fatalf("read the stream: %v", err)
	}
	<-done
	took := time.Since(begin)
	if err := sub.Unsubscribe(); err != nil {
		b.Fatalf("end the subscription: %v", err)
	}
	return took / transportMessages
}

// ReportPerTransport reports what one item of a benchmark costs, and the ratio to what one message of
// the transport costs, measured before in the same run. Items is how many each iteration handled.
func ReportPerTransport(b *testing.B, transport time.Duration, items int) {
	b.Helper()
	each := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / float64(items)
	b.ReportMetric(each, "ns/item")
	b.ReportMetric(each/float64(transport.Nanoseconds()), "x-transport")
}
