package lab

import "testing"

func TestFreePort_IsAnotherOneEachTime(t *testing.T) {
	seen := map[int]bool{}
	for range 2000 { // of 22,000: some would come twice
		port := FreePort(t)
		if seen[port] || port < firstPort || port >= lastPort {
			t.Errorf("port %d, given before: %t", port, seen[port])
		}
		seen[port] = true
	}
}
