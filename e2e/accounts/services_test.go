package accounts

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// TestServices_WriteTheirOwnBuckets: of all users only a bucket's owner may write to it; for those of the devices that is
// the aggregator, who clears them of what is over. People write nowhere. Nobody listens to another's answers.
func TestServices_WriteTheirOwnBuckets(t *testing.T) {
	w := newWorld(t, asShipped)
	for user, name := range users {
		p := w.person(user)
		for bucket, owner := range owners() {
			if denied := p.denied("Publish", fleet.KeySubject(bucket, barrier)); denied != (owner != user) {
				t.Errorf("%s writes to %s of %s: denied %v", user, bucket, owner, denied)
			}
		}
		for _, other := range users {
			subject := "_INBOX." + other + ".>"
			if denied := p.denied("Subscription", subject); denied != (other != name) {
				t.Errorf("%s listens to %s: denied %v", user, subject, denied)
			}
		}
	}
}

// TestServices_AskWhatTheyNeed: the patcher does what it is asked by the other two services and by people, and nobody on
// DATA can ask for anything.
func TestServices_AskWhatTheyNeed(t *testing.T) {
	w := newWorld(t, asShipped)
	may := map[string][]fleet.Endpoint{
		"RECONCILER": {fleet.FinalizerRelease, fleet.EventRecord},
		"AGGREGATOR": {fleet.StatusApply, fleet.DeviceApply, fleet.FinalizerRelease},
		"ADMIN":      fleet.Endpoints(),
		"VIEWER":     slices.DeleteFunc(fleet.Endpoints(), func(e fleet.Endpoint) bool { return e.Role == fleet.RoleActing }),
	}
	for user := range users {
		p := w.person(user)
		for _, e := range fleet.Endpoints() {
			if denied := p.denied("Publish", e.Subject); denied == slices.Contains(may[user], e) {
				t.Errorf("%s asks %s: denied %v", user, e.Subject, denied)
			}
		}
	}
}

// person is a connection, and what the server says to it.
type person struct {
	*nats.Conn
	t    *testing.T
	said chan string
}

func (w *world) person(user string) person {
	p := person{t: w.t, said: make(chan string, 100)}
	p.Conn = w.conn(user, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { p.said <- err.Error() }))
	return p
}

// denied publishes or subscribes to a subject, and reports whether the server refuses it. It knows by a publish behind
// it that is refused to everybody.
func (p person) denied(what, subject string) bool {
	p.t.Helper()
	var err error
	if what == "Publish" {
		err = p.Publish(subject, nil)
	} else {
		_, err = p.SubscribeSync(subject)
	}
	if err == nil {
		err = p.Publish("refused.to.everybody", nil)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	for denied := false; ; denied = true {
		select {
		case text := <-p.said:
			if strings.Contains(text, "refused.to.everybody") {
				return denied
			}
		case <-time.After(wait):
			p.t.Fatalf("nothing is refused to %s", p.Opts.Name)
		}
	}
}
