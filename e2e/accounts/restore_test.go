package accounts

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/kv"
)

// all are the buckets that a backup has.
var all = []string{
	fleet.BucketDeviceHeartbeat, fleet.BucketDeviceState, fleet.BucketDeviceInfo, fleet.BucketDesiredState, fleet.BucketResources,
}

// streams are the names of the streams in both accounts.
func (w *world) streams() []string {
	w.t.Helper()
	var names []string
	for _, nc := range []*nats.Conn{w.control, w.data} {
		js, err := nc.JetStream()
		if err != nil {
			w.t.Fatal(err)
		}
		for name := range js.StreamNames() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// fleetCommand runs the fleet command as a user.
func (w *world) fleetCommand(user string, args ...string) (string, error) {
	return w.command("fleet", append([]string{"--nats-context", w.context(user)}, args...)...)
}

// TestRestore: with the context of ADMIN every bucket is backed up. Each is restored with that of its account, also one that
// is missing. Devices are asked to report again.
func TestRestore(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		w := newWorldOf(t, nodes, asShipped)
		asked, err := w.neighbour.SubscribeSync(fleet.SubjectResyncAll)
		if err != nil {
			t.Fatal(err)
		}
		w.flush(w.neighbour)
		before, streams := w.keys(), w.streams()
		if out, err := w.fleetCommand("ADMIN", "backup", "backup"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for range 2 {
			w.restore("ADMIN", fleet.BucketResources)
			w.restore("ADMIN_DATA", all[:4]...)
			if got := w.keys(); !slices.Equal(got, before) {
				t.Errorf("had %q, has %q", before, got)
			}
			if got := w.streams(); !slices.Equal(got, streams) {
				t.Errorf("streams were %q, are %q", streams, got)
			}
			if _, err := asked.NextMsg(wait); err != nil {
				t.Errorf("the devices were not asked: %v", err)
			}
			for _, bucket := range all { // and now what is missing
				if js, err := w.side(bucket).JetStream(); err != nil || js.DeleteStream(fleet.StreamName(bucket)) != nil {
					t.Fatal("a bucket could not be deleted")
				}
			}
		}
	}
}

// keys are what is in the buckets, without book-keeping.
func (w *world) keys() (keys []string) {
	for subject := range w.content() {
		if !strings.Contains(subject, "._") {
			keys = append(keys, subject)
		}
	}
	slices.Sort(keys)
	return keys
}

func (w *world) restore(user string, buckets ...string) {
	w.t.Helper()
	args := []string{"restore", "backup", "--replace", "--yes"}
	if user == "ADMIN" {
		args = append(args, "--wait", "0s")
	} else {
		args = append(args, "--without-resources") // they are in another account, and restored
	}
	for _, b := range buckets {
		args = append(args, "--bucket", b)
	}
	if out, err := w.fleetCommand(user, args...); err != nil {
		w.t.Fatalf("restore as %s: %v\n%s\n%s", user, err, out, w.log)
	}
}

// TestRestore_NoPath: in the wrong account, and without a permission that a restore needs, it is refused before anything is
// changed, with a text that says so.
func TestRestore_NoPath(t *testing.T) {
	for name, c := range map[string]struct {
		user    string
		missing bool // the bucket
		l       []loosening
	}{
		"buckets of another account":  {"ADMIN", false, nil},
		"… and it is missing":         {"ADMIN", true, nil},
		"the parts are not permitted": {"ADMIN_DATA", false, []loosening{{`"$JS.API.>", "$JS.SNAPSHOT.RESTORE.>", "fleet.v1.agents.resync"`, `"$JS.API.>", "fleet.v1.agents.resync"`}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, asShipped, c.l...)
			if out, err := w.fleetCommand("ADMIN", "backup", "backup"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if js, err := w.data.JetStream(); err != nil || c.missing && js.DeleteStream(fleet.StreamName(fleet.BucketDeviceInfo)) != nil {
				t.Fatal("the bucket could not be deleted")
			}
			streams := w.streams()
			for _, more := range []string{"--dry-run", "--yes"} {
				out, err := w.fleetCommand(c.user, "restore", "backup", "--replace", more, "--wait", "0s", "--bucket", fleet.BucketDeviceInfo, "--without-resources")
				if err == nil || !strings.Contains(out, "cannot restore") || !strings.Contains(out, "context") || !strings.Contains(out, "nothing was changed") {
					t.Errorf("%v\n%s", err, out)
				}
			}
			if got := w.streams(); !slices.Equal(got, streams) {
				t.Errorf("streams were %q, are %q", streams, got)
			}
			fleettest.Eventually(t, wait, "the owner takes its bucket", func() bool {
				return kv.Open(w.conn("AGGREGATOR_DATA"), fleet.BucketDeviceInfo, kv.Provisioning{Fleet: "fleet", Storage: kv.Memory}).Ensure(t.Context()) == nil
			})
		})
	}
}
