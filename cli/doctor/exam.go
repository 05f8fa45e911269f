package doctor

import (
	"fmt"
	"time"

	"harmony.dev/fleet"
)

// Exam gathers findings. The services are told first, then the buckets, of them fleet-resources first: it says
// which devices there are.
type Exam struct {
	Shell Shell
	// Remove returns the request that removes an entry which is still at that revision.
	Remove func(bucket, key string, revision uint64) (Request, error)
	// Grace is how old a key of an unknown device has to be: one that has just begun is registered in a moment.
	Grace time.Duration
	// Skew is how wrong a clock may be; 0: that is not judged.
	Skew time.Duration
	// Version is that of the command which asks.
	Version string

	found   []Finding
	entries map[place]Finding   // what is wrong with entries; a later message of a key replaces it
	told    map[place]told      // what the services set aside in buckets
	now     map[place]uint64    // the revisions of these
	devices map[string]struct{} // known ones
	synced  bool                // the mirror says that it is whole
	known   bool                // devices is complete
	hold    *fleet.Hold
	skews   map[string]time.Duration // of devices whose clocks are wrong
}

type place struct{ bucket, key string }

type told struct {
	fleet.Poison
	service, instance string
}

// NewExam returns an Exam that has found nothing.
func NewExam(sh Shell, grace time.Duration, remove func(bucket, key string, revision uint64) (Request, error)) *Exam {
	return &Exam{
		Shell: sh, Remove: remove, Grace: grace, entries: map[place]Finding{},
		told: map[place]told{}, now: map[place]uint64{}, devices: map[string]struct{}{}, skews: map[string]time.Duration{},
	}
}

func (x *Exam) add(f Finding) { x.found = append(x.found, f) }

// Gone takes note that a key has no value any more.
func (x *Exam) Gone(bucket, key string) {
	delete(x.entries, place{bucket, key})
	delete(x.now, place{bucket, key})
	if k, err := fleet.ParseResourceKey(key); err == nil && bucket == fleet.BucketResources && k.Device != "" {
		delete(x.devices, string(k.Device))
	}
	if d, err := fleet.ParseHeartbeatKey(key); err == nil && bucket == fleet.BucketDeviceHeartbeat {
		delete(x.skews, string(d))
	}
	if bucket == fleet.BucketDesiredState && key == fleet.KeyHold {
		x.hold = nil
	}
}

// Entry takes in a value. Age is how long ago the server stored it.
func (x *Exam) Entry(e Entry, age time.Duration) {
	at := place{e.Bucket, e.Key}
	delete(x.entries, at)
	if _, ok := x.told[at]; ok {
		x.now[at] = e.Revision
	}
	kind, err := Judge(e)
	if err != nil {
		x.entries[at] = x.bad(kind, e, err)
	}
	x.note(e, err)
	if kind == "" && x.known && age >= x.Grace {
		if d := deviceOf(e.Bucket, e.Key); d != "" && !x.knows(string(d)) {
			x.entries[at] = x.orphan(e, string(d))
		}
	}
}

// note remembers what other findings need.
func (x *Exam) note(e Entry, bad error) {
	switch {
	case e.Bucket == fleet.BucketDeviceHeartbeat:
		x.clock(e)
	case e.Bucket == fleet.BucketDesiredState && e.Key == fleet.KeyHold:
		x.hold = nil
		if h, err := fleet.DecodeHold(e.Value); err == nil && bad == nil && !h.Approved {
			x.hold = &h
		}
	case e.Bucket == fleet.BucketResources && e.Key == fleet.KeySynced:
		x.synced = bad == nil
	case e.Bucket == fleet.BucketResources:
		k, err := fleet.ParseResourceKey(e.Key)
		if err != nil || k.Device == "" {
			return
		}
		d, err := fleet.DecodeMirrorDevice(e.Value)
		if err == nil && d.Tombstone != nil {
			delete(x.devices, string(k.Device))
			return
		}
		x.devices[string(k.Device)] = struct{}{}
	}
}

func (x *Exam) knows(device string) bool {
	_, ok := x.devices[device]
	return ok
}

// Read says that a bucket was read to its end.
func (x *Exam) Read(bucket string) {
	if bucket == fleet.BucketResources {
		x.known = x.synced
	}
}

func (x *Exam) bad(kind Kind, e Entry, err error) Finding {
	d := deviceOf(e.Bucket, e.Key)
	f := Finding{
		Kind: kind, Bucket: e.Bucket, Key: e.Key, Revision: e.Revision, Device: string(d), Why: fleet.InvalidText(err),
	}
	switch kind {
	case IllegalKey:
		f.What = "a key that is none of the bucket: it is set aside"
		f.Mend = "remove the key; nobody reads it, and nobody else removes it"
	case ForeignWrite:
		f.What = "a value that the bucket's service did not write: it is never obeyed"
	default:
		f.What = "a value that cannot be read: it is set aside"
	}
	s := owner(e.Bucket)
	switch {
	case kind == IllegalKey:
		x.remove(&f)
	case s == "":
		f.Mend = "remove the value; a living agent is asked to write it again"
		x.remove(&f)
	case e.Bucket == fleet.BucketDesiredState && !fleet.IsReserved(e.Key):
		f.Mend = s + " rewrites it by itself where it is wished, and deletes it where not; the brake may hold that back: fleet hold show. To be rid of it now, remove the value"
		x.remove(&f)
	default:
		f.Mend = "nothing to do: " + s + " writes it again by itself as soon as it acts; if it stays, mend what keeps the service from acting"
	}
	if s == "" && x.knows(string(d)) {
		f.Mend += "; if it comes back, mend the agent or quarantine the device: " + x.Shell.patch(string(d), `{"spec":{"quarantined":true}}`)
	} else if s == "" {
		f.Mend += "; if it comes back, find the agent that writes it: only its credentials keep it from writing"
	}
	return f
}

func (x *Exam) orphan(e Entry, device string) Finding {
	f := Finding{
		Kind: Orphan, Bucket: e.Bucket, Key: e.Key, Revision: e.Revision, Device: device,
		What: "a key of a device that is not known", Why: fmt.Sprintf("there is no Device %s in the mirror", device),
		Mend: "nothing to do: " + fleet.ServiceAggregator + " collects it after 1 h, unless its agent is alive and registers; to remove it now, use the command",
	}
	x.remove(&f)
	return f
}

// remove adds the command that removes the entry.
func (x *Exam) remove(f *Finding) {
	r, err := x.Remove(f.Bucket, f.Key, f.Revision)
	if err == nil {
		f.Command = x.Shell.request(r)
	}
	if f.Command == "" {
		f.Mend = "no command line can carry this key; deleting the whole bucket mends it: " + creator(f.Bucket) + " creates it anew"
	}
}

// Found returns what was found.
func (x *Exam) Found() []Finding {
	all := append([]Finding(nil), x.found...)
	for _, f := range x.entries {
		all = append(all, f)
	}
	if len(x.skews) > 0 {
		all = append(all, x.deviceClocks())
	}
	if x.hold != nil {
		all = append(all, x.held(*x.hold))
	}
	for at, t := range x.told {
		if _, own := x.entries[at]; own || x.now[at] != t.Revision {
			continue // shown already, or changed since the service looked
		}
		all = append(all, Finding{
			Kind: SetAside, Service: t.service, Instance: t.instance, Bucket: t.Bucket, Key: t.Key, Revision: t.Revision,
			What: "the service set an entry aside in which nothing wrong is seen from here", Why: t.Error,
			Mend: "compare the versions of the service and of this command",
		})
	}
	return all
}

func (x *Exam) held(h fleet.Hold) Finding {
	return Finding{
		Kind: Held, Service: fleet.ServiceReconciler, Bucket: fleet.BucketDesiredState, Key: fleet.KeyHold,
		What:    "the brake holds deletes back until a person approves them",
		Why:     fmt.Sprintf("%d deletes of %d keys look like lost truth", h.Deletes, h.Keys),
		Mend:    "look at them first: fleet hold show; if they are meant, approve them with the command, which asks before it does; if not, bring the resources back, and they are released",
		Command: join([]string{"fleet", "hold", "approve", h.ID}),
	}
}
