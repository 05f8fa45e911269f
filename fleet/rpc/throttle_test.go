package rpc

import (
	"testing"
	"time"
)

func TestThrottle_OpensOncePerInterval(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	x := throttle{every: time.Second}
	var opened []int
	for i := range 25 {
		if x.open(start.Add(time.Duration(i) * 100 * time.Millisecond)) {
			opened = append(opened, i)
		}
	}
	if len(opened) != 3 || opened[0] != 0 || opened[1] != 10 || opened[2] != 20 {
		t.Errorf("opened at %v", opened)
	}
	var always throttle
	for range 2 {
		if !always.open(start) {
			t.Error("the zero value is shut")
		}
	}
}
