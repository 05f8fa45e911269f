package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"harmony.dev/fleet"
)

// named is how many devices with wrong clocks are named; all are counted.
const named = 10

// clock takes in what a device says of its clock: how far it was ahead when the server stored its heartbeat. A heartbeat without
// a time says nothing of it.
func (x *Exam) clock(e Entry) {
	k, err := fleet.ParseHeartbeatKey(e.Key)
	if err != nil {
		return
	}
	delete(x.skews, string(k))
	h, err := fleet.DecodeHeartbeat(e.Value)
	if err != nil || h.At == "" || e.Stored.IsZero() {
		return
	}
	at, err := fleet.ParseTime(h.At)
	if skew := at.Sub(e.Stored); err == nil && x.wrong(skew) {
		x.skews[string(k)] = skew
	}
}

// wrong reports whether a clock is off by more than is let pass.
func (x *Exam) wrong(skew time.Duration) bool { return x.Skew > 0 && skew.Abs() > x.Skew }

// deviceClocks is one finding for all devices: thousands of them may have lost the time at once.
func (x *Exam) deviceClocks() Finding {
	type device struct {
		name string
		skew time.Duration
	}
	var all []device
	for name, skew := range x.skews {
		all = append(all, device{name, skew})
	}
	slices.SortFunc(all, func(a, b device) int {
		return cmp.Or(cmp.Compare(b.skew.Abs(), a.skew.Abs()), cmp.Compare(a.name, b.name))
	})
	var worst []string
	for _, d := range all[:min(named, len(all))] {
		worst = append(worst, d.name+" by "+offset(d.skew))
	}
	f := Finding{
		Kind: ClockSkew, Bucket: fleet.BucketDeviceHeartbeat, Device: all[0].name,
		What: fmt.Sprintf("%d devices have a clock that is more than %s wrong", len(all), x.Skew),
		Why:  "by the server's stamps on their heartbeats: " + strings.Join(worst, ", "),
		Mend: "set the time on the devices (timedatectl set-ntp true): no device's clock decides anything here, but the times in its reports are wrong, and certificates may be refused",
	}
	if len(all) == 1 {
		f.What = fmt.Sprintf("a device has a clock that is more than %s wrong", x.Skew)
	}
	if more := len(all) - len(worst); more > 0 {
		f.Why += fmt.Sprintf(", and %d more", more)
	}
	return f
}

// Clocks takes in when the services were asked how they are, by the NATS server's clock: each has said the time in between.
func (x *Exam) Clocks(all []Service, asked, answered time.Time) {
	for _, s := range all {
		for _, h := range s.Replicas {
			skew := outside(h.AsOf, asked, answered)
			if h.AsOf.IsZero() || !x.wrong(skew) {
				continue
			}
			x.add(Finding{
				Kind: ClockSkew, Service: h.Service, Instance: h.Instance,
				What: fmt.Sprintf("the clock of %s is more than %s wrong", h.Instance, x.Skew),
				Why:  "it differs from the NATS server's by " + offset(skew),
				Mend: "set the time where it runs, or where the NATS server runs (timedatectl set-ntp true): a bucket that is made anew begins at a number that comes from the clock",
			})
		}
	}
}

// outside is how far a time is before the first of two, or after the second.
func outside(t, from, to time.Time) time.Duration {
	switch {
	case t.Before(from):
		return t.Sub(from)
	case t.After(to):
		return t.Sub(to)
	}
	return 0
}

func offset(d time.Duration) string {
	text := d.Truncate(time.Second).String()
	if d > 0 {
		return "+" + text
	}
	return text
}
