package fleettest_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"harmony.dev/fleet/fleettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const soon = 20 * time.Second

func TestNATS_RestartKeepsPortAndStore(t *testing.T) {
	srv := fleettest.NATS(t)
	url := srv.URL()
	nc := srv.Conn(t)
	js := stream(t, nc, 1)
	if _, err := js.Publish("s.a", []byte("v")); err != nil {
		t.Fatal(err)
	}
	srv.Restart()
	if srv.URL() != url {
		t.Errorf("url %s, before %s", srv.URL(), url)
	}
	fleettest.Eventually(t, soon, "the message survived", func() bool {
		m, err := js.GetLastMsg("S", "s.a")
		return err == nil && string(m.Data) == "v"
	})
}

func TestNATS_StoreCanBeRolledBack(t *testing.T) {
	srv := fleettest.NATS(t)
	js := stream(t, srv.Conn(t), 1)
	srv.Shutdown()
	backup := srv.CopyStore()
	srv.Start()
	fleettest.Eventually(t, soon, "published", func() bool {
		_, err := js.Publish("s.a", nil)
		return err == nil
	})
	srv.Shutdown()
	srv.RestoreStore(backup)
	srv.Start()
	fleettest.Eventually(t, soon, "the message is gone", func() bool {
		info, err := js.StreamInfo("S")
		return err == nil && info.State.Msgs == 0
	})
}

func TestNATS_WithoutJetStream(t *testing.T) {
	js, err := fleettest.NATS(t, fleettest.WithoutJetStream()).Conn(t).JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AccountInfo(); err == nil {
		t.Error("there is JetStream")
	}
}

func TestCluster_SurvivesALostServer(t *testing.T) {
	c := fleettest.Cluster(t, 3)
	js := stream(t, c.Conn(t), 3)
	leader := c.StreamLeader(t, "S")
	leader.Shutdown()
	fleettest.Eventually(t, soon, "the others go on", func() bool {
		_, err := js.Publish("s.a", nil)
		return err == nil
	})
	leader.Start()
	c.WaitLeader(t)
	if c.StreamLeader(t, "S") == leader {
		t.Log("the leader is back")
	}
}

func TestEventually_SeesALateChange(t *testing.T) {
	n := 0
	fleettest.Eventually(t, soon, "counted", func() bool { n++; return n > 3 })
	if n != 4 {
		t.Errorf("asked %d times", n)
	}
}

func stream(t *testing.T, nc *nats.Conn, replicas int) nats.JetStreamContext {
	t.Helper()
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Eventually(t, soon, "the stream is created", func() bool {
		_, err := js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Replicas: replicas})
		return err == nil
	})
	return js
}
