package link

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"harmony.dev/agent/protocol"
)

// intake is a subscription whose messages go to the link's channel. While that is full the client drops
// them, and counts what it dropped. That count is what to look at: the channel may have room again.
type intake struct {
	*nats.Subscription
	loss    protocol.Event // what makes up for dropped messages
	dropped int            // up to the last look
}

func (l *Link) subscribe(subject string, loss protocol.Event) (*intake, error) {
	sub, err := l.nc.ChanSubscribe(subject, l.msgs)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	return &intake{Subscription: sub, loss: loss}, nil
}

// missed reports whether messages were dropped since the last look.
func (i *intake) missed() bool {
	n, err := i.Dropped()
	if err != nil || n == i.dropped { // an error: the subscription has ended
		return false
	}
	i.dropped = n
	return true
}

// end ends the subscription. On a connection that is closed it has ended already.
func (i *intake) end() { _ = i.Unsubscribe() }
