package protocol_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

// liveHeaders are those of a message as the server republishes it.
func liveHeaders() map[string][]string {
	return map[string][]string{
		"Nats-Stream": {"KV_desired-state"}, "Nats-Subject": {"$KV.desired-state.pi.web"},
		"Nats-Sequence": {"12"}, "Nats-Last-Sequence": {"9"}, "Fleet-Epoch": {"7"},
	}
}

func TestDecodeLive(t *testing.T) {
	good := protocol.Live{Deployment: "web", Sequence: 12, Previous: 9, Epoch: 7, Value: []byte("v")}
	for name, c := range map[string]struct {
		subject string
		change  func(map[string][]string)
		want    protocol.Live // zero: not own
	}{
		"put":                {want: good},
		"first of its key":   {change: set("Nats-Last-Sequence", "0"), want: with(good, func(l *protocol.Live) { l.Previous = 0 })},
		"no epoch":           {change: drop("Fleet-Epoch"), want: with(good, func(l *protocol.Live) { l.Epoch = 0 })},
		"no proper epoch":    {change: set("Fleet-Epoch", "07"), want: with(good, func(l *protocol.Live) { l.Epoch = 0 })},
		"two epochs":         {change: set("Fleet-Epoch", "7", "7"), want: with(good, func(l *protocol.Live) { l.Epoch = 0 })},
		"delete":             {change: set("KV-Operation", "DEL"), want: with(good, func(l *protocol.Live) { l.Op, l.Value = protocol.Delete, nil })},
		"purge":              {change: set("KV-Operation", "PURGE"), want: with(good, func(l *protocol.Live) { l.Op, l.Value = protocol.Delete, nil })},
		"unknown operation":  {change: set("KV-Operation", "MOVE"), want: good},
		"expired":            {change: set("Nats-Marker-Reason", "MaxAge"), want: with(good, func(l *protocol.Live) { l.Op, l.Value = protocol.Expired, nil })},
		"removed by a limit": {change: set("Nats-Marker-Reason", "Remove"), want: with(good, func(l *protocol.Live) { l.Op, l.Value = protocol.Delete, nil })},

		"another device":        {subject: "fleet.v1.live.other.web"},
		"another subject":       {subject: "fleet.v1.agents.resync"},
		"no key":                {subject: "fleet.v1.live.pi"},
		"another stored key":    {change: set("Nats-Subject", "$KV.desired-state.other.web")},
		"another deployment":    {change: set("Nats-Subject", "$KV.desired-state.pi.db")},
		"another bucket":        {change: set("Nats-Subject", "$KV.device-state.pi.web")},
		"another stream":        {change: set("Nats-Stream", "KV_device-state")},
		"two stored keys":       {change: set("Nats-Subject", "$KV.desired-state.pi.web", "$KV.desired-state.pi.web")},
		"two sequences":         {change: set("Nats-Sequence", "99", "12")},
		"no sequence":           {change: drop("Nats-Sequence")},
		"zero sequence":         {change: set("Nats-Sequence", "0")},
		"negative sequence":     {change: set("Nats-Sequence", "-1")},
		"no last sequence":      {change: drop("Nats-Last-Sequence")},
		"header in lower case":  {change: func(h map[string][]string) { h["nats-stream"] = h["Nats-Stream"]; delete(h, "Nats-Stream") }},
		"no headers whatsoever": {change: func(h map[string][]string) { clear(h) }},
	} {
		t.Run(name, func(t *testing.T) {
			h := liveHeaders()
			if c.change != nil {
				c.change(h)
			}
			subject := c.subject
			if subject == "" {
				subject = "fleet.v1.live.pi.web"
			}
			got, err := protocol.DecodeLive("pi", subject, h, []byte("v"))
			if c.want.Sequence == 0 {
				if !errors.Is(err, protocol.ErrNotOwn) {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func set(name string, values ...string) func(map[string][]string) {
	return func(h map[string][]string) { h[name] = values }
}

func drop(name string) func(map[string][]string) {
	return func(h map[string][]string) { delete(h, name) }
}

func with(l protocol.Live, change func(*protocol.Live)) protocol.Live {
	change(&l)
	return l
}

func FuzzDecodeLive(f *testing.F) {
	f.Add("fleet.v1.live.pi.web", "KV_desired-state", "$KV.desired-state.pi.web", "12", "9", "7", "DEL", "")
	f.Add("fleet.v1.live.pi.web", "KV_desired-state", "$KV.desired-state.pi.web", "12", "0", "", "", "MaxAge")
	f.Fuzz(func(t *testing.T, subject, stream, stored, seq, last, epoch, op, marker string) {
		h := map[string][]string{
			"Nats-Stream": {stream}, "Nats-Subject": {stored}, "Nats-Sequence": {seq}, "Nats-Last-Sequence": {last},
			"Fleet-Epoch": {epoch}, "KV-Operation": {op}, "Nats-Marker-Reason": {marker},
		}
		l, err := protocol.DecodeLive("pi", subject, h, []byte("v"))
		if err != nil {
			if !errors.Is(err, protocol.ErrNotOwn) {
				t.Fatalf("error is not ErrNotOwn: %v", err)
			}
			return
		}
		p := fleet.Pair{Device: "pi", Deployment: l.Deployment}
		if subject != fleet.LiveSubject(p) || stored != fleet.KeySubject(fleet.BucketDesiredState, fleet.DesiredKey(p)) || l.Sequence == 0 {
			t.Fatalf("accepted %+v from %q, %q", l, subject, stored)
		}
	})
}

func TestDecodePage(t *testing.T) {
	good, err := json.Marshal(fleet.Snapshot{AsOf: 5, Entries: []fleet.SnapshotEntry{{Deployment: "a", Sequence: 1, Value: []byte("x")}, {Deployment: "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	for text, ok := range map[string]bool{
		string(good): true,
		`{"asOf":5,"complete":true,"entries":[]}`:                                      true,
		`{"asOf":5,"complete":true,"unchanged":true,"entries":null,"newer":{"x":[1]}}`: true,
		``:                           false,
		`{}`:                         false,
		`null`:                       false,
		`[]`:                         false,
		`{"asOf":5,"entries":[]}`:    false, // whether it is whole has to be said
		`{"complete":true}`:          false,
		`{"asOf":0,"complete":true}`: false,
		`{"asOf":5,"complete":true,"unchanged":true,"next":"a","entries":[]}`:                                false,
		`{"asOf":5,"complete":true,"entries":[{"deployment":"B","value":""}]}`:                               false,
		`{"asOf":5,"complete":true,"entries":[{"deployment":"b"},{"deployment":"a"}]}`:                       false,
		`{"asOf":5,"complete":true,"entries":[{"deployment":"a"},{"deployment":"a"}]}`:                       false,
		`{"asOf":5,"complete":true,"entries":[{"deployment":"a","value":"?"}]}`:                              false,
		`{"asOf":5,"complete":true,"entries":[{"deployment":"b"}],"next":"a"}`:                               false,
		`{"reason":"NotFound","message":"complete asOf","errorId":"x"}`:                                      false,
		`{"asOf":5,"complete":true,"entries":[]}` + string(bytes.Repeat([]byte(" "), fleet.MaxSnapshotPage)): false,
	} {
		_, err := protocol.DecodePage([]byte(text))
		if ok && err != nil || !ok && !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("%.100s: %v", text, err)
		}
	}
}

func FuzzDecodePage(f *testing.F) {
	f.Add([]byte(`{"asOf":5,"complete":true,"entries":[{"deployment":"a","sequence":1,"value":"eA=="}],"next":"a"}`))
	f.Add([]byte(`{"asOf":5,"complete":false,"unchanged":true,"entries":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := protocol.DecodePage(b)
		if err != nil {
			if !errors.Is(err, fleet.ErrInvalid) {
				t.Fatalf("error is not ErrInvalid: %v", err)
			}
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := protocol.DecodePage(again); len(again) <= fleet.MaxSnapshotPage && (err != nil || q.AsOf != p.AsOf || len(q.Entries) != len(p.Entries)) {
			t.Fatalf("decoded again: %+v, %v", q, err)
		}
	})
}

func TestState_RoundTrip(t *testing.T) {
	want := protocol.State{Device: "pi", Workloads: []protocol.Stored{
		{Deployment: "a", Desired: []byte("<&>"), Report: report()},
		{Deployment: "b", Removed: true, Good: []byte("good"), Report: report()},
		{Deployment: "c", Desired: []byte("good"), Ran: true, Report: report()},
		{Deployment: "d", Report: report()}, // an empty value is malformed, and no removal
	}}
	b, err := protocol.EncodeState(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := protocol.DecodeState("pi", b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, err := protocol.DecodeState("other", b); !errors.Is(err, fleet.ErrInvalid) {
		t.Errorf("another device's state: %v", err)
	}
	for i := range b {
		damaged := bytes.Clone(b)
		damaged[i] ^= 1
		if s, err := protocol.DecodeState("pi", damaged); err == nil && !reflect.DeepEqual(s, want) {
			t.Errorf("byte %d damaged: %+v", i, s)
		}
	}
}

func report() fleet.Report {
	return fleet.Report{Phase: fleet.PhaseRunning, ObservedHash: fleet.Hash(nil), LastEventAt: "2026-01-01T00:00:00Z"}
}

func FuzzDecodeState(f *testing.F) {
	b, err := protocol.EncodeState(protocol.State{Device: "pi", Workloads: []protocol.Stored{{Deployment: "a", Report: report()}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":1,"sha256":"","state":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := protocol.DecodeState("pi", b); err == nil && s.Device != "pi" {
			t.Fatalf("accepted %+v", s)
		} else if err != nil && !errors.Is(err, fleet.ErrInvalid) {
			t.Fatalf("error is not ErrInvalid: %v", err)
		}
	})
}
