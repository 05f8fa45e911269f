package doctor

import (
	"cmp"
	"slices"
)

// Kind is the kind of a finding: one CamelCase word for programs.
type Kind string

// The kinds.
const (
	ServerTooOld     Kind = "ServerTooOld"     // the NATS server lacks what the operator needs
	NoJetStream      Kind = "NoJetStream"      // there can be no bucket
	PermissionDenied Kind = "PermissionDenied" // this connection may not look at something
	ServiceSilent    Kind = "ServiceSilent"    // no replica answers
	NotReady         Kind = "NotReady"         // a replica is not ready, or says that something is wrong
	NoLeaseHolder    Kind = "NoLeaseHolder"    // no replica acts
	VersionSkew      Kind = "VersionSkew"      // replicas, services or this command are of different versions
	ClockSkew        Kind = "ClockSkew"        // a clock is wrong
	Held             Kind = "Held"             // the brake keeps deletes back
	BucketMissing    Kind = "BucketMissing"    // the bucket does not exist
	BucketRestoring  Kind = "BucketRestoring"  // a restore of the bucket runs, or was killed
	BucketUnreadable Kind = "BucketUnreadable" // the bucket could not be looked at or read to its end
	BucketConfig     Kind = "BucketConfig"     // the bucket is not configured as it has to be
	IllegalKey       Kind = "IllegalKey"       // a key that is none of its bucket
	MalformedValue   Kind = "MalformedValue"   // a value that cannot be read: malformed, too large, of a newer contract
	ForeignWrite     Kind = "ForeignWrite"     // a value of a service's bucket that the service did not write
	Orphan           Kind = "Orphan"           // a key of a device that is not known
	SetAside         Kind = "SetAside"         // a service set something aside that reading the buckets does not show
)

// Kinds lists them in the order in which a report has them.
func Kinds() []Kind {
	return []Kind{
		ServerTooOld, NoJetStream, PermissionDenied, ServiceSilent, NotReady, NoLeaseHolder, VersionSkew, ClockSkew, Held,
		BucketMissing, BucketRestoring, BucketUnreadable, BucketConfig, IllegalKey, MalformedValue, ForeignWrite, SetAside, Orphan,
	}
}

// Finding is one thing that is wrong. Fields that do not apply are empty.
type Finding struct {
	Kind     Kind   `json:"kind"`
	What     string `json:"what"`
	Service  string `json:"service,omitempty"`
	Instance string `json:"instance,omitempty"`
	Bucket   string `json:"bucket,omitempty"`
	Key      string `json:"key,omitempty"`
	Revision uint64 `json:"revision,omitempty"`
	Device   string `json:"device,omitempty"`
	Why      string `json:"why"`
	Mend     string `json:"mend"`              // what mends it, in words
	Command  string `json:"command,omitempty"` // what to paste into a shell; none when words alone help
}

// Rest counts findings of one kind in one bucket that are not listed.
type Rest struct {
	Kind   Kind   `json:"kind"`
	Bucket string `json:"bucket"`
	Count  int    `json:"count"`
}

// Report is what was found.
type Report struct {
	Healthy  bool      `json:"healthy"`  // nothing was found
	Findings []Finding `json:"findings"` // never nil
	Rest     []Rest    `json:"rest,omitempty"`
}

// NewReport sorts the findings: services first, then bucket by bucket, by kind and key. Of those of one kind in
// one bucket it lists the first limit, 0 for all, and counts the rest.
func NewReport(found []Finding, limit int) Report {
	r := Report{Healthy: len(found) == 0, Findings: []Finding{}}
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(rank(a.Kind), rank(b.Kind)), cmp.Compare(a.Key, b.Key))
	})
	n := 0
	for i, f := range found {
		if i == 0 || f.Bucket != found[i-1].Bucket || f.Kind != found[i-1].Kind {
			n = 0
		}
		n++
		switch {
		case f.Bucket == "" || limit <= 0 || n <= limit:
			r.Findings = append(r.Findings, f)
		case n == limit+1:
			r.Rest = append(r.Rest, Rest{Kind: f.Kind, Bucket: f.Bucket, Count: 1})
		default:
			r.Rest[len(r.Rest)-1].Count++
		}
	}
	return r
}

func rank(k Kind) int {
	return slices.Index(Kinds(), k)
}
