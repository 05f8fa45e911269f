package doctor

import (
	"fmt"
	"slices"

	"harmony.dev/fleet"
)

// Service is a service with the replicas that answered.
type Service struct {
	Name     string
	Replicas []fleet.Health
	Refused  []string // the subjects to which it could not be asked
}

// Services takes in what the services say of themselves.
func (x *Exam) Services(all []Service) {
	for _, s := range all {
		x.service(s)
		for _, h := range s.Replicas {
			x.replica(h)
		}
	}
	x.versions(all)
}

func (x *Exam) service(s Service) {
	if len(s.Replicas) == 0 && len(s.Refused) > 0 {
		x.Refused(Refusal{Service: s.Name, Publish: s.Refused})
		return
	}
	if len(s.Replicas) == 0 {
		x.add(Finding{
			Kind: ServiceSilent, Service: s.Name, What: s.Name + " does not answer", Why: "no replica answered in time",
			Mend: "run it, and connect it to the same NATS account; a slow one is given more time with --wait",
		})
		return
	}
	if !slices.ContainsFunc(s.Replicas, func(h fleet.Health) bool { return h.Lease == nil || h.Lease.Held }) {
		why := "no replica here holds the lease, and none knows who does"
		if l := s.Replicas[0].Lease; l.Holder != "" {
			why = "the lease is held by " + l.Holder + ", which does not answer"
		}
		x.add(Finding{
			Kind: NoLeaseHolder, Service: s.Name, Bucket: "", What: s.Name + ": nobody acts", Why: why,
			Mend: "wait: the lease of a replica that was killed ends by itself, after 10 s by default, and another takes it once it is ready",
		})
	}
}

// covered are reasons of which there are findings of their own.
var covered = []string{fleet.ReasonSetAside, fleet.ReasonHeld}

func (x *Exam) replica(h fleet.Health) {
	said := false
	texts := map[string]bool{}
	for _, r := range h.Reasons {
		said = true
		if slices.Contains(covered, r.Reason) || texts[r.Message] {
			continue
		}
		texts[r.Message] = true
		x.add(notReady(h, fmt.Sprintf("%s: %s", r.Reason, r.Message)))
	}
	if !said && (!h.Ready || h.State != fleet.StateReady) {
		x.add(notReady(h, "it gives no reason"))
	}
	for _, s := range h.Sources {
		x.source(h, s)
	}
}

func notReady(h fleet.Health, why string) Finding {
	return Finding{
		Kind: NotReady, Service: h.Service, Instance: h.Instance,
		What: fmt.Sprintf("%s is %s, ready: %t", h.Instance, h.State, h.Ready), Why: why,
		Mend: "see what it waits for: it goes on by itself as soon as that is there",
	}
}

// source takes in what a service set aside: of buckets to compare, for they are read here too; of the apiserver
// as findings.
func (x *Exam) source(h fleet.Health, s fleet.Source) {
	for _, p := range s.Set {
		kind := ""
		switch p.Bucket {
		case fleet.ResourceDeployments:
			kind = "fdep"
		case fleet.ResourceDevices:
			kind = "fdev"
		default:
			x.told[place{p.Bucket, p.Key}] = told{p, h.Service, h.Instance}
			continue
		}
		f := Finding{
			Kind: SetAside, Service: h.Service, Instance: h.Instance, Bucket: p.Bucket, Key: p.Key, Revision: p.Revision,
			What: "a resource that cannot be mirrored: its last good value counts", Why: p.Error,
			Mend: "mend the resource", Command: x.Shell.edit(kind, p.Key),
		}
		if !p.Kept {
			f.What = "a resource that cannot be mirrored: it counts for nothing"
		}
		x.add(f)
	}
	resources := s.Name == fleet.ResourceDeployments || s.Name == fleet.ResourceDevices
	if more := s.Poison - len(s.Set); resources && more > 0 {
		x.add(Finding{
			Kind: SetAside, Service: h.Service, Instance: h.Instance, Bucket: s.Name, What: fmt.Sprintf("%d more of these", more),
			Why: "the service lists the first only", Mend: "mend those that are listed, then ask again",
		})
	}
}
