package view

import (
	"slices"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/aggregator/projection"
)

// ack is what the server stores under a device's key when somebody asks for an acknowledgement there.
const ack = `{"stream":"KV_device-info","seq":7}`

// Whatever another device has the server write under a device's keys is no sign of life of it, and changes nothing that
// it has said. But it is known where it stands, so that it goes with the Device.
func TestPubAck_IsNoSignOfLifeAndCanBeRemoved(t *testing.T) {
	r := newReplay(0)
	r.pass(r.server.Add(-24 * time.Hour))
	pair := fleet.Pair{Device: "pi", Deployment: "web"}
	heard := r.server
	r.write(fleet.BucketDeviceInfo, "info.pi", `{"labels":{"region":"north"}}`)
	r.write(fleet.BucketDeviceHeartbeat, "heartbeat.pi", `{}`)
	r.write(fleet.BucketDeviceState, "state.pi.web", `{"phase":"Running","observedHash":"`+fleet.Hash(nil)+`","lastEventAt":"2026-03-01T12:00:00Z"}`)
	r.server = r.server.Add(time.Hour)
	infoAt := r.write(fleet.BucketDeviceInfo, "info.pi", ack)
	heartbeatAt := r.write(fleet.BucketDeviceHeartbeat, "heartbeat.pi", ack)
	reportAt := r.write(fleet.BucketDeviceState, "state.pi.web", ack)
	r.Read(func(s *projection.State, _ Moment) {
		d, _ := s.Device("pi")
		if !d.Seen.Equal(heard) || d.Info == nil || d.Info.Labels["region"] != "north" {
			t.Errorf("seen at %s, info %+v: want what it was", d.Seen, d.Info)
		}
		p, _ := s.Pair(pair)
		if p.Phase != fleet.PhaseRunning {
			t.Errorf("the pair is %q", p.Phase)
		}
		if d.InfoAt.Revision != infoAt || d.HeartbeatAt.Revision != heartbeatAt {
			t.Errorf("info at %d, heartbeat at %d: want %d, %d", d.InfoAt.Revision, d.HeartbeatAt.Revision, infoAt, heartbeatAt)
		}
		for _, at := range s.ReportsOf("pi") {
			if at.Revision != reportAt {
				t.Errorf("report at %d, want %d", at.Revision, reportAt)
			}
		}
	})
}

// A device of which there is nothing else has never been heard of, and what is under its keys is garbage.
func TestPubAck_OfAnInventedDeviceIsGarbage(t *testing.T) {
	r := newReplay(0)
	r.pass(r.server.Add(-time.Minute))
	r.write(fleet.BucketDeviceInfo, "info.nobody", ack)
	r.write(fleet.BucketDeviceHeartbeat, "heartbeat.nobody", ack)
	r.write(fleet.BucketDeviceState, "state.nobody.web", ack)
	r.Read(func(s *projection.State, _ Moment) {
		if d, _ := s.Device("nobody"); d.Known {
			t.Error("it was heard of")
		}
		var keys []string
		for _, o := range s.TakeOrphans(s.LastOrphan(), 10) {
			keys = append(keys, o.Key)
		}
		slices.Sort(keys)
		if want := []string{"heartbeat.nobody", "info.nobody", "state.nobody.web"}; !slices.Equal(keys, want) {
			t.Errorf("garbage is %v, want %v", keys, want)
		}
	})
}

// Old reports in a bucket that was restored are doubted until the device speaks, and not until somebody has the server speak.
func TestPubAck_EndsNoDoubt(t *testing.T) {
	r := newReplay(0)
	created := r.server.Add(-time.Hour)
	r.pass(created)
	r.write(fleet.BucketDeviceHeartbeat, "heartbeat.pi", `{}`)
	r.write(fleet.BucketDesiredState, "pi.web", "{}")
	r.write(fleet.BucketDesiredState, "pi.log", "{}")
	owed := func(name fleet.DeploymentName, want int) {
		t.Helper()
		r.Read(func(s *projection.State, _ Moment) {
			if d, _ := s.Deployment(name); d.Owed != want {
				t.Errorf("%s: %d reports owed, want %d", name, d.Owed, want)
			}
		})
	}
	r.write(fleet.BucketDeviceState, "state.pi.log", ack)
	owed("log", 1) // nothing has ever come
	r.again(fleet.BucketDeviceState, kv.Pass{Number: 2, Created: created, NewIncarnation: true, Barrier: r.seq + 1}, []string{"state.pi.web"}, nil)
	owed("web", 1)
	r.write(fleet.BucketDeviceState, "state.pi.web", ack)
	owed("web", 1)
	for _, key := range []string{"state.pi.web", "state.pi.log"} {
		r.write(fleet.BucketDeviceState, key, `{"phase":"Running","observedHash":"`+fleet.Hash(nil)+`","lastEventAt":"2026-03-01T12:00:00Z"}`)
	}
	owed("web", 0)
	owed("log", 0)
}

// A service that starts knows only the acknowledgement: the device is asked for what it was.
func TestPubAck_DeviceIsAskedForWhatWasOverwritten(t *testing.T) {
	r := newReplay(0)
	r.pass(r.server.Add(-time.Hour))
	r.write(fleet.BucketDeviceHeartbeat, "heartbeat.pi", `{}`)
	r.write(fleet.BucketDeviceInfo, "info.pi", `{}`)
	missing := func() (is bool) {
		r.Read(func(s *projection.State, _ Moment) { is = s.Missing() })
		return is
	}
	if missing() {
		t.Fatal("it is asked though all is there")
	}
	for _, f := range r.feeds {
		if f.bucket == fleet.BucketDeviceInfo {
			f.Apply(kv.Message{Key: "info.pi", Op: kv.Swept})
		}
	}
	r.write(fleet.BucketDeviceInfo, "info.pi", ack)
	if !missing() {
		t.Error("it is not asked")
	}
}
