package lab

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports are given from below those that the kernel takes for connections (ip_local_port_range, usually from 32768 on): no
// client may sit on the port of a server that is killed and started again.
const (
	firstPort = 10_000
	lastPort  = 32_000
)

// given are the ports of this process that FreePort has returned: stacks that run side by side must not meet.
var given sync.Map

// FreePort finds a TCP port of 127.0.0.1 that nothing listens on, another one each time.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			_ = l.Close() // nothing was sent
			return port
		}
	}
	t.Fatalf("no port between %d and %d is free", firstPort, lastPort)
	return 0
}
