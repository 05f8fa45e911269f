package doctor

import (
	"fmt"
	"strings"

	"harmony.dev/fleet"
)

// TooOld says that the NATS server lacks what the operator needs. No bucket has to be read then.
func (x *Exam) TooOld(err error) {
	x.add(Finding{
		Kind: ServerTooOld, What: "the NATS server is too old: without what it lacks no write is fenced", Why: err.Error(),
		Mend: "upgrade nats-server; its data can stay",
	})
}

// WithoutJetStream says that there can be no bucket.
func (x *Exam) WithoutJetStream(err error) {
	x.add(Finding{
		Kind: NoJetStream, What: "there are no buckets here", Why: err.Error(),
		Mend: "enable JetStream in the server and for the account, or use a connection to the account that has it: --nats-context",
	})
}

// Refusal is what the server does not let this connection do.
type Refusal struct {
	Service   string   // that could not be asked, or
	Bucket    string   // that could not be looked at
	Publish   []string // subjects that it may not publish to
	Subscribe []string // subjects that it may not hear
}

// Refused takes in what this connection may not do: what is behind it is not shown.
func (x *Exam) Refused(r Refusal) {
	f := Finding{
		Kind: PermissionDenied, Service: r.Service, Bucket: r.Bucket, Why: r.why(),
		Mend: "let the user of this connection " + r.grant() + ", or use a connection that may: --nats-context; deploy/nats has users for people",
	}
	switch {
	case r.Service != "":
		f.What = "this connection may not ask " + r.Service + " how it is"
	case r.Bucket != "":
		f.What = "this connection may not look at the bucket: what is wrong in it is not shown"
		f.Mend += "; reading the bucket takes " + needed(r.Bucket)
	default:
		f.What = "this connection hears no answers: nothing can be looked at"
		f.Mend = "let its user " + r.grant() + ", or give the NATS context the inbox prefix that its user may hear: nats context edit, inbox_prefix"
	}
	x.add(f)
}

func (r Refusal) why() string {
	var parts []string
	if len(r.Publish) > 0 {
		parts = append(parts, "publishing to "+strings.Join(r.Publish, ", ")+" is denied")
	}
	if len(r.Subscribe) > 0 {
		parts = append(parts, "subscribing to "+strings.Join(r.Subscribe, ", ")+" is denied")
	}
	return strings.Join(parts, "; ")
}

func (r Refusal) grant() string {
	var parts []string
	if len(r.Publish) > 0 {
		parts = append(parts, "publish to "+strings.Join(r.Publish, ", "))
	}
	if len(r.Subscribe) > 0 {
		parts = append(parts, "subscribe to "+strings.Join(r.Subscribe, ", "))
	}
	return strings.Join(parts, " and ")
}

// needed are the subjects that reading a bucket takes.
func needed(bucket string) string {
	stream := fleet.StreamName(bucket)
	return fmt.Sprintf("$JS.API.STREAM.INFO.%s, $JS.API.STREAM.MSG.GET.%s, $JS.API.CONSUMER.*.%s.> and $JS.API.CONSUMER.MSG.NEXT.%s.>",
		stream, fleet.RestoreStreamName(bucket), stream, stream)
}
