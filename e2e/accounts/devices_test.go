package accounts

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// TestDevices_Refuses: devices.sh makes no users of a list with a mistake. An id with a dot or a wildcard would have the
// keys of other devices.
func TestDevices_Refuses(t *testing.T) {
	key := "U" + strings.Repeat("A", 55)
	for list, want := range map[string]string{
		"pi-01 " + key + "\n\n# old\npi-02 " + key: "",
		"pi.01 " + key:                           "no device id",
		"* " + key:                               "no device id",
		"> " + key:                               "no device id",
		"Pi " + key:                              "no device id",
		`pi"x ` + key:                            "no device id",
		strings.Repeat("a", 64) + " " + key:      "no device id",
		"pi-01 secret":                           "neither",
		"pi-01 S" + key[1:]:                      "neither",
		"pi-01":                                  "1 fields",
		"pi-01 a b":                              "3 fields",
		"pi-01 " + key + "\npi-01 " + key + "\n": "twice",
	} {
		cmd := exec.CommandContext(t.Context(), "sh", filepath.Join(lab.Root(t), "deploy", "nats", "devices.sh"))
		var out, said strings.Builder
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(list), &out, &said
		if err := cmd.Run(); (err != nil) != (want != "") || !strings.Contains(said.String(), want) {
			t.Errorf("%q: %v, said %q, want %q", list, err, said.String(), want)
		}
		if want == "" && strings.Count(out.String(), "nkey: ") != 2 {
			t.Errorf("%q: wrote %s", list, out.String())
		}
	}
}

// TestDevices_Hear: what the operator says reaches the device that it is for.
func TestDevices_Hear(t *testing.T) {
	w := newWorld(t, asShipped)
	for _, subject := range []string{fleet.LiveSubjects(hostile), fleet.SubjectResyncAll, fleet.ResyncSubject(hostile)} {
		sub, err := w.device.SubscribeSync(subject)
		if err != nil {
			t.Fatal(err)
		}
		w.flush(w.device)
		if strings.HasPrefix(subject, fleet.LivePrefix) {
			w.put(fleet.BucketDesiredState, hostile+".web")
		} else if err := w.conn("AGGREGATOR_DATA").Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		m, err := sub.NextMsg(wait)
		if err != nil {
			t.Errorf("nothing is heard on %s: %v", subject, err)
		} else if key := m.Header.Get("Nats-Subject"); strings.HasPrefix(subject, fleet.LivePrefix) && key != "$KV.desired-state."+hostile+".web" {
			t.Errorf("a live message names the key %q", key)
		}
	}
}

// TestDevices_TakenOut: a device that is no longer in the list loses its connection, and no other does.
func TestDevices_TakenOut(t *testing.T) {
	s := newServer(t, 1, []string{hostile, neighbour, "pi-03"})
	out, stays := s.conn(hostile), s.conn(neighbour)
	s.devices([]string{"pi-03", neighbour})
	s.reload()
	fleettest.Eventually(t, wait, "the device is shut out", func() bool { return !out.IsConnected() })
	if err := stays.FlushTimeout(wait); err != nil || stays.Stats().Reconnects > 0 {
		t.Errorf("the other one: %d reconnects, %v", stays.Stats().Reconnects, err)
	}
}
