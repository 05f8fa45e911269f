package doctor

import (
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet"
)

func TestJudge(t *testing.T) {
	score := `{"score":{"data":{},"type":"noop"},"uid":"u"}`
	report := `{"phase":"Running","observedHash":"` + strings.Repeat("a", 64) + `","lastEventAt":"2026-01-02T03:04:05Z"}`
	for _, c := range []struct {
		bucket, key, value string
		own                bool
		want               Kind
	}{
		{fleet.BucketDesiredState, "pi-1.web", score, true, ""},
		{fleet.BucketDesiredState, "pi-1.web", score, false, ForeignWrite},
		{fleet.BucketDesiredState, "pi-1.web", `{`, true, MalformedValue},
		{fleet.BucketDesiredState, "pi-1", score, true, IllegalKey},
		{fleet.BucketDesiredState, "_applied.web", `{"uid":"u"}`, true, ""},
		{fleet.BucketDesiredState, "_applied.WEB", `{"uid":"u"}`, true, IllegalKey},
		{fleet.BucketDesiredState, "_other", `{}`, true, IllegalKey},
		{fleet.BucketDesiredState, "_hold", `{}`, true, MalformedValue},
		{fleet.BucketResources, "_synced", `{"epoch":1}`, true, ""},
		{fleet.BucketResources, "device.pi-1", `{"uid":"u"}`, true, ""},
		{fleet.BucketResources, "device.pi-1", `{"uid":"u","invalid":"no finalizer yet"}`, true, ""},
		{fleet.BucketResources, "device.pi-1", `{}`, true, MalformedValue},
		{fleet.BucketResources, "device.pi-1.x", `{}`, true, IllegalKey},
		{fleet.BucketResources, "deployment.web", `{"uid":"u"}`, false, ForeignWrite},
		{fleet.BucketLeases, "_lease", `{"instance":"a"}`, false, ""},
		{fleet.BucketLeases, "_epoch", `[]`, false, MalformedValue},
		{fleet.BucketDeviceInfo, "info.pi-1", `{"stream":"KV_device-heartbeat","seq":7}`, false, ForeignWrite},
		{fleet.BucketLeases, "x", `{}`, true, IllegalKey},
		{fleet.BucketDeviceInfo, "info.pi-1", `{}`, false, ""},
		{fleet.BucketDeviceInfo, "_lease", `{}`, false, IllegalKey},
		{fleet.BucketDeviceState, "state.pi-1.web", report, false, ""},
		{fleet.BucketDeviceState, "state.pi-1.web", report + strings.Repeat(" ", fleet.MaxReportSize), false, MalformedValue},
		{fleet.BucketDeviceState, "state2.pi-1.web", report, false, IllegalKey},
		{fleet.BucketDeviceHeartbeat, "heartbeat.PI", `{}`, false, IllegalKey},
	} {
		got, err := Judge(Entry{Bucket: c.bucket, Key: c.key, Value: []byte(c.value), Own: c.own})
		if got != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s %s: %q, %v; want %q", c.bucket, c.key, got, err, c.want)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"plain-1.x": "plain-1.x", "": "''", "$KV.x": "'$KV.x'", "it's": `'it'\''s'`, "\x1b'\\": `$'\033\'\\'`, "é": `$'\303\251'`, "\xff": `$'\377'`,
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
	if got := string(plain([]byte(`{"a":"'é😀{{x"}`))); got != `{"a":"\u0027\u00e9\ud83d\ude00{\u007bx"}` {
		t.Errorf("plain: %s", got)
	}
}

func newExam() *Exam {
	return NewExam(Shell{Fleet: "fleet"}, time.Minute, func(bucket, key string, _ uint64) (Request, error) {
		return Request{Subject: "remove." + bucket + "." + key}, nil
	})
}

func TestExam_OrphansNeedAWholeMirrorAndTime(t *testing.T) {
	info := Entry{Bucket: fleet.BucketDeviceInfo, Key: "info.ghost", Revision: 3, Value: []byte(`{}`)}
	for name, c := range map[string]struct {
		synced, read bool
		age          time.Duration
		want         int
	}{
		"old": {true, true, time.Hour, 1}, "young": {true, true, time.Second, 0},
		"mirror not read": {true, false, time.Hour, 0}, "mirror not whole": {false, true, time.Hour, 0},
	} {
		x := newExam()
		if c.synced {
			x.Entry(Entry{Bucket: fleet.BucketResources, Key: fleet.KeySynced, Value: []byte(`{"epoch":1}`), Own: true}, 0)
		}
		x.Entry(Entry{Bucket: fleet.BucketResources, Key: "device.pi-1", Value: []byte(`{"uid":"u"}`), Own: true}, 0)
		if c.read {
			x.Read(fleet.BucketResources)
		}
		x.Entry(info, c.age)
		x.Entry(Entry{Bucket: fleet.BucketDeviceInfo, Key: "info.pi-1", Value: []byte(`{}`)}, c.age)
		if got := x.Found(); len(got) != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestExam_ALaterMessageCounts(t *testing.T) {
	x := newExam()
	bad := Entry{Bucket: fleet.BucketDeviceInfo, Key: "info.pi-1", Revision: 1, Value: []byte(`{`)}
	x.Entry(bad, 0)
	x.Entry(Entry{Bucket: bad.Bucket, Key: bad.Key, Revision: 2, Value: []byte(`{}`)}, 0)
	x.Entry(Entry{Bucket: bad.Bucket, Key: "bad!", Revision: 3}, 0)
	x.Gone(bad.Bucket, "bad!")
	if got := x.Found(); len(got) > 0 {
		t.Errorf("found %+v", got)
	}
}

func TestExam_Services(t *testing.T) {
	health := func(change func(*fleet.Health)) fleet.Health {
		h := fleet.Health{Service: "fleet-patcher", Instance: "p-1", Version: "1", State: fleet.StateReady, Ready: true, Lease: &fleet.LeaseHealth{Held: true}}
		change(&h)
		return h
	}
	for name, c := range map[string]struct {
		replicas []fleet.Health
		want     []Kind
	}{
		"well":               {[]fleet.Health{health(func(*fleet.Health) {})}, nil},
		"silent":             {nil, []Kind{ServiceSilent}},
		"no holder":          {[]fleet.Health{health(func(h *fleet.Health) { h.Lease = &fleet.LeaseHealth{Holder: "gone"} })}, []Kind{NoLeaseHolder}},
		"skew":               {[]fleet.Health{health(func(*fleet.Health) {}), health(func(h *fleet.Health) { h.Version = "2" })}, []Kind{VersionSkew}},
		"not ready":          {[]fleet.Health{health(func(h *fleet.Health) { h.State, h.Ready = fleet.StateReplaying, false })}, []Kind{NotReady}},
		"a reason":           {[]fleet.Health{health(func(h *fleet.Health) { h.Reasons = []fleet.Reason{{Reason: "X", Message: "y"}} })}, []Kind{NotReady}},
		"covered by entries": {[]fleet.Health{health(func(h *fleet.Health) { h.Reasons = []fleet.Reason{{Reason: "EntriesSetAside"}} })}, nil},
		"resources set aside": {[]fleet.Health{health(func(h *fleet.Health) {
			h.Sources = []fleet.Source{{Name: "devices", Poison: 3, Set: []fleet.Poison{{Bucket: "devices", Key: "pi-1"}}}}
		})}, []Kind{SetAside, SetAside}},
	} {
		x := newExam()
		x.Services([]Service{{Name: "fleet-patcher", Replicas: c.replicas}})
		got := x.Found()
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		for i, k := range c.want {
			if got[i].Kind != k {
				t.Errorf("%s: %+v, want %s", name, got[i], k)
			}
		}
	}
}

func TestNewReport_ListsSomeAndCountsTheRest(t *testing.T) {
	var found []Finding
	for _, k := range []string{"d", "b", "a", "c"} {
		found = append(found, Finding{Kind: IllegalKey, Bucket: "x", Key: k})
	}
	found = append(found, Finding{Kind: ServiceSilent}, Finding{Kind: ServiceSilent}, Finding{Kind: ServiceSilent})
	r := NewReport(found, 2)
	if r.Healthy || len(r.Findings) != 5 || r.Findings[3].Key != "a" || len(r.Rest) != 1 || r.Rest[0] != (Rest{IllegalKey, "x", 2}) {
		t.Errorf("%+v", r)
	}
	if r := NewReport(nil, 2); !r.Healthy || r.Findings == nil {
		t.Errorf("%+v", r)
	}
}
