package doctor

import (
	"fmt"
	"os"
	"regexp"
	"slices"
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

func TestExam_DeviceClocksAreOneFindingThatNamesTheWorst(t *testing.T) {
	stored := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	beat := func(device string, ahead time.Duration) Entry {
		value := fmt.Sprintf(`{"at":%q}`, stored.Add(ahead).Format(time.RFC3339))
		return Entry{Bucket: fleet.BucketDeviceHeartbeat, Key: "heartbeat." + device, Value: []byte(value), Stored: stored}
	}
	for name, c := range map[string]struct {
		entries []Entry
		skew    time.Duration
		want    string
	}{
		"well":                    {[]Entry{beat("a", 59*time.Second), beat("b", -time.Minute)}, time.Minute, ""},
		"one ahead":               {[]Entry{beat("a", 61*time.Second)}, time.Minute, "a by +1m1s"},
		"the worst first":         {[]Entry{beat("a", 2*time.Minute), beat("b", -3*time.Hour)}, time.Minute, "b by -3h0m0s, a by +2m0s"},
		"any clock may be wrong":  {[]Entry{beat("a", time.Hour)}, 0, ""},
		"a later one counts":      {[]Entry{beat("a", time.Hour), beat("a", 0)}, time.Minute, ""},
		"one that says no time":   {[]Entry{{Bucket: fleet.BucketDeviceHeartbeat, Key: "heartbeat.a", Value: []byte(`{}`), Stored: stored}}, time.Minute, ""},
		"one whose stamp is lost": {[]Entry{{Bucket: fleet.BucketDeviceHeartbeat, Key: "heartbeat.a", Value: []byte(`{"at":"2001-01-01T00:00:00Z"}`)}}, time.Minute, ""},
		"the year 1":              {[]Entry{{Bucket: fleet.BucketDeviceHeartbeat, Key: "heartbeat.a", Value: []byte(`{"at":"0001-01-01T00:00:00Z"}`), Stored: stored}}, time.Minute, "a by -2562047h47m16s"},
	} {
		x := newExam()
		x.Skew = c.skew
		for _, e := range c.entries {
			x.Entry(e, 0)
		}
		got := x.Found()
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || got[0].Kind != ClockSkew || !strings.HasSuffix(got[0].Why, c.want)) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	x := newExam()
	x.Skew = time.Minute
	for i := range 37 {
		x.Entry(beat(fmt.Sprintf("pi-%02d", i), time.Duration(i+2)*time.Minute), 0)
	}
	x.Gone(fleet.BucketDeviceHeartbeat, "heartbeat.pi-00")
	got := x.Found()
	if len(got) != 1 || !strings.HasPrefix(got[0].What, "36 devices") || strings.Count(got[0].Why, "pi-") != 10 || !strings.HasSuffix(got[0].Why, "and 26 more") || got[0].Device != "pi-36" {
		t.Errorf("%+v", got)
	}
}

func TestExam_ClocksOfServicesAreJudgedByTheServers(t *testing.T) {
	asked := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for said, want := range map[time.Duration]string{
		0: "", time.Second: "", -59 * time.Second: "", 61 * time.Second: "", // one of them passed while the answers came
		-61 * time.Second: "-1m1s", 5 * time.Minute: "+4m59s",
	} {
		x := newExam()
		x.Skew = time.Minute
		h := fleet.Health{Service: "fleet-patcher", Instance: "p-1", AsOf: asked.Add(said)}
		x.Clocks([]Service{{Name: "fleet-patcher", Replicas: []fleet.Health{h}}}, asked, asked.Add(time.Second))
		got := x.Found()
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || got[0].Kind != ClockSkew || got[0].Instance != "p-1" || !strings.HasSuffix(got[0].Why, want)) {
			t.Errorf("%s: %+v", said, got)
		}
	}
}

func TestExam_VersionOfTheCommand(t *testing.T) {
	for _, c := range []struct{ ours, theirs, want string }{
		{"v1.2.3", "v1.2.3", ""},
		{"devel", "v1.2.3", ""},
		{"v1.2.3", "", ""},
		{"", "v1.2.3", ""},
		{"v1.2.3", "v1.10.0", "older than"},
		{"v2.0.0", "v1.10.9-4-gabc", "newer than"},
		{"v1.2.3-1-gabc", "v1.2.3", "of another version than"},
		{"0eef34f", "99b7b85", "of another version than"},
		{"v1.2", "v1.2.0", "of another version than"},
	} {
		x := newExam()
		x.Version = c.ours
		health := fleet.Health{Service: "fleet-patcher", Version: c.theirs, State: fleet.StateReady, Ready: true}
		x.Services([]Service{{Name: "fleet-patcher", Replicas: []fleet.Health{health, health}}})
		got := x.Found()
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || got[0].Kind != VersionSkew || got[0].What != "this command is "+c.want+" the services") {
			t.Errorf("%q beside %q: %+v", c.ours, c.theirs, got)
		}
	}
}

func TestExam_WhatIsRefusedSaysWhatToGrant(t *testing.T) {
	x := newExam()
	x.Services([]Service{{Name: "fleet-patcher", Refused: []string{"fleet.v1.patcher.health"}}})
	x.Refused(Refusal{Bucket: fleet.BucketDeviceInfo, Publish: []string{"$JS.API.STREAM.INFO.KV_device-info"}})
	x.Refused(Refusal{Subscribe: []string{"_INBOX.x.*"}})
	got := x.Found()
	if len(got) != 3 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []string{"publish to fleet.v1.patcher.health", "$JS.API.CONSUMER.MSG.NEXT.KV_device-info.>", "subscribe to _INBOX.x.*"} {
		if got[i].Kind != PermissionDenied || !strings.Contains(got[i].Mend, want) {
			t.Errorf("%+v, want %q", got[i], want)
		}
	}
}

func TestKinds_HasEachKindOfThePackage(t *testing.T) {
	src, err := os.ReadFile("finding.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`Kind = "(\w+)"`).FindAllStringSubmatch(string(src), -1) {
		if !slices.Contains(Kinds(), Kind(m[1])) {
			t.Errorf("Kinds lacks %s", m[1])
		}
	}
}
