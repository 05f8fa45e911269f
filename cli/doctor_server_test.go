package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"harmony.dev/cli/doctor"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/kv"
)

// kindsOf counts findings.
func kindsOf(r doctor.Report) map[doctor.Kind][]doctor.Finding {
	kinds := map[doctor.Kind][]doctor.Finding{}
	for _, f := range r.Findings {
		kinds[f.Kind] = append(kinds[f.Kind], f)
	}
	return kinds
}

func TestDoctor_SaysWhatItMayNotLookAt(t *testing.T) {
	person := &natsserver.User{Username: "person", Password: "p", Permissions: &natsserver.Permissions{Publish: &natsserver.SubjectPermission{
		Deny: []string{"fleet.v1.patcher.health", "$JS.API.STREAM.INFO.KV_device-info", "$JS.API.CONSUMER.CREATE.KV_device-state.>"},
	}}}
	deaf := &natsserver.User{Username: "deaf", Password: "p", Permissions: &natsserver.Permissions{Subscribe: &natsserver.SubjectPermission{Allow: []string{"_INBOX.deaf.>"}}}}
	srv := fleettest.NATS(t, fleettest.WithOptions(func(o *natsserver.Options) {
		o.Users = []*natsserver.User{{Username: "operator", Password: "p"}, person, deaf}
	}))
	as := func(user string) string { return strings.Replace(srv.URL(), "nats://", "nats://"+user+":p@", 1) }
	nc, err := nats.Connect(as("operator"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	o := &operator{t: t, nc: nc}
	o.state.Store(fleet.StateReady)
	for _, s := range fleet.Services() {
		o.serve(s, true, nil)
	}
	for _, b := range buckets {
		if err := kv.Open(nc, b, kv.Provisioning{Fleet: "fleet"}).Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	o.store(fleet.BucketDeviceHeartbeat, "bad!key", "x", nil)

	began := time.Now()
	_, r := examine(t, as("person"), "--wait", "1s")
	kinds := kindsOf(r)
	denied := kinds[doctor.PermissionDenied]
	if len(denied) != 3 || len(kinds[doctor.IllegalKey]) != 1 || len(r.Findings) != 4 {
		t.Fatalf("found %+v", r.Findings)
	}
	if f := denied[0]; f.Service != fleet.ServicePatcher || !strings.Contains(f.Mend, "fleet.v1.patcher.health") {
		t.Errorf("of a service that may not be asked: %+v", f)
	}
	if f := denied[2]; f.Bucket != fleet.BucketDeviceState || !strings.Contains(f.Why, "$JS.API.CONSUMER.CREATE.KV_device-state.") {
		t.Errorf("of a bucket that may not be read: %+v", f)
	}
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("it waited %s for answers that the server had refused", took)
	}
	_, r = examine(t, as("deaf"))
	if len(r.Findings) != 1 || r.Findings[0].Kind != doctor.PermissionDenied || !strings.Contains(r.Findings[0].Mend, "inbox") {
		t.Errorf("without answers: %+v", r.Findings)
	}
}

func TestDoctor_NamesClocksThatAreWrong(t *testing.T) {
	o, url := startFleet(t)
	at := time.Now().Add(3 * time.Hour).UTC().Format(time.RFC3339)
	o.store(fleet.BucketDeviceHeartbeat, "heartbeat.pi-1", fmt.Sprintf(`{"at":%q}`, at), nil)
	code, r := examine(t, url)
	if code != 1 || len(r.Findings) != 1 || r.Findings[0].Kind != doctor.ClockSkew || r.Findings[0].Device != "pi-1" {
		t.Errorf("exit %d, %+v", code, r.Findings)
	}
	if code, r = examine(t, url, "--skew", "4h"); code != 0 {
		t.Errorf("with a skew that is let pass: %+v", r.Findings)
	}
	if code, r = examine(t, url, "--skew", "0"); code != 0 {
		t.Errorf("without judging clocks: %+v", r.Findings)
	}
	o.ahead.Store(int64(-2 * time.Hour))
	if code, r = examine(t, url, "--skew", "90m"); code != 1 || len(kindsOf(r)[doctor.ClockSkew]) != 4 {
		t.Errorf("services whose clocks are wrong, and a device: %+v", r.Findings)
	}
}

func TestDoctor_WithoutJetStreamSaysSoOnce(t *testing.T) {
	srv := fleettest.NATS(t, fleettest.WithoutJetStream())
	_, r := examine(t, srv.URL(), "--wait", "300ms")
	kinds := kindsOf(r)
	if len(kinds[doctor.NoJetStream]) != 1 || len(kinds[doctor.ServiceSilent]) != 3 || len(r.Findings) != 4 {
		t.Errorf("%+v", r.Findings)
	}
}

// oldServer speaks just enough of the protocol for a client to connect.
func oldServer(t *testing.T, version string) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	info, err := json.Marshal(map[string]any{"server_id": "old", "version": version, "max_payload": 1 << 20, "proto": 1, "headers": true})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprintf(conn, "INFO %s\r\n", info)
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					if strings.HasPrefix(lines.Text(), "PING") {
						fmt.Fprint(conn, "PONG\r\n")
					}
				}
			}()
		}
	}()
	return "nats://" + l.Addr().String()
}

func TestDoctor_AServerThatIsTooOldIsAllThatItFinds(t *testing.T) {
	code, r := examine(t, oldServer(t, "2.10.22"))
	if code != 1 || len(r.Findings) != 1 || r.Findings[0].Kind != doctor.ServerTooOld || !strings.Contains(r.Findings[0].Why, "2.10.22") {
		t.Errorf("exit %d, %+v", code, r.Findings)
	}
}
