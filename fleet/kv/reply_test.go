package kv

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestParseDelivery(t *testing.T) {
	want := delivery{revision: 42, sequence: 7, pending: 3, time: time.Unix(0, 1795441472770472123).UTC()}
	for _, reply := range []string{
		"$JS.ACK.KV_b.c.1.42.7.1795441472770472123.3",
		"$JS.ACK.hub.ACC.KV_b.c.1.42.7.1795441472770472123.3.rnd",
		"$JS.ACK._.ACC.KV_b.c.1.42.7.1795441472770472123.3",
	} {
		got, err := parseDelivery(reply)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", reply, got, err)
		}
	}
	for _, revision := range []uint64{9_999_999_999_999_999_999, 10_000_000_000_000_000_000, math.MaxUint64 - 1, math.MaxUint64} {
		got, err := parseDelivery(fmt.Sprintf("$JS.ACK.KV_b.c.1.%d.7.1795441472770472123.3", revision))
		if err != nil || got.revision != revision {
			t.Errorf("revision %d: %+v, %v", revision, got, err)
		}
	}
	for _, reply := range []string{
		"", "$JS.ACK.", "$JS.ACK.a.b.1.2.3.4", "$JS.ACK.a.b.1.x.3.4.5", "$JS.ACK.a.b.1.2.3.4.5.6.7.8.9.10.11.12",
		"$JS.ACK.a.b.1.99999999999999999999.3.4.5", "$JS.ACK.a.b.1..3.4.5", "$JS.ACK.a.b.1.18446744073709551616.3.4.5",
		"$JS.ACK.a.b.1.28446744073709551615.3.4.5", "$JS.ACK.a.b.1.018446744073709551615.3.4.5", "$JS.ACK.a.b.1.1844674407370955161x.3.4.5",
	} {
		if got, err := parseDelivery(reply); err == nil {
			t.Errorf("%q: %+v", reply, got)
		}
	}
	for _, reply := range []string{
		"$JS.ACK.KV_b.c.1.42.7.1795441472770472123.3",
		"$JS.ACK.KV_b.c.1.18446744073709551615.7.1795441472770472123.3",
	} {
		if n := testing.AllocsPerRun(100, func() { _, _ = parseDelivery(reply) }); n != 0 {
			t.Errorf("%s: %v allocations", reply, n)
		}
	}
}

func FuzzParseDelivery(f *testing.F) {
	f.Add("$JS.ACK.KV_b.c.1.42.7.1795441472770472123.3")
	f.Add("$JS.ACK.hub.ACC.KV_b.c.1.42.7.1795441472770472123.3.rnd")
	f.Add("............")
	f.Fuzz(func(t *testing.T, reply string) { _, _ = parseDelivery(reply) }) // it must not panic
}

func TestOperation(t *testing.T) {
	header := func(kv ...string) nats.Header {
		h := nats.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Set(kv[i], kv[i+1])
		}
		return h
	}
	for name, c := range map[string]struct {
		h    nats.Header
		want Op
	}{
		"none":    {nil, Put},
		"other":   {header("Fleet-Epoch", "3"), Put},
		"delete":  {header("KV-Operation", "DEL"), Delete},
		"purge":   {header("KV-Operation", "PURGE"), Purge},
		"expired": {header("Nats-Marker-Reason", "MaxAge"), Expired},
		"removed": {header("Nats-Marker-Reason", "Remove"), Delete},
		"purged":  {header("Nats-Marker-Reason", "Purge"), Purge},
	} {
		if got := operation(c.h); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if e := (Message{Header: header("Fleet-Epoch", "007")}).Epoch(); e != 0 {
		t.Errorf("a malformed epoch counts as %d", e)
	}
}
