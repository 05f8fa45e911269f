package fleet_test

import (
	"testing"

	"harmony.dev/fleet"
)

func TestIsPubAck(t *testing.T) {
	for value, want := range map[string]bool{
		`{"stream":"KV_device-info", "seq":7}`:                                   true,
		`{"stream":"KV_device-info","domain":"hub","seq":7,"duplicate":true}`:    true,
		`{"error":{"code":503},"stream":"KV_device-info","seq":0}`:               true,
		`{"labels":{"stream":"a"},"inventory":{"seq":"1"}}`:                      false,
		`{"phase":"Running","lastError":"\"stream\" and \"seq\" are not known"}`: false,
		`{"stream":"KV_device-info"}`:                                            false,
		`{}`:                                                                     false,
		`{"stream":`:                                                             false,
	} {
		if got := fleet.IsPubAck([]byte(value)); got != want {
			t.Errorf("%s: %t, want %t", value, got, want)
		}
	}
}
