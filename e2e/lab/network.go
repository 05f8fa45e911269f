package lab

import (
	"strings"
	"time"

	"harmony.dev/fleet/fleettest/proxy"
)

// Network is the way of one process to NATS: a proxy in front of each server, or the network of its container.
// What is done to it befalls that process alone.
type Network struct {
	stack   *Stack
	proxies []*proxy.Proxy
	direct  string // instead of proxies, where time is measured
	wall    *wall  // instead of proxies, around a container
}

func (s *Stack) network() *Network {
	n := &Network{stack: s}
	if s.direct {
		n.direct = s.NATS.URL()
		return n
	}
	for _, nd := range s.NATS.nodes {
		n.proxies = append(n.proxies, proxy.New(s.t, nd.address()))
	}
	return n
}

// URL is where the process connects.
func (n *Network) URL() string {
	if n.direct != "" {
		return n.direct
	}
	var urls []string
	for _, p := range n.proxies {
		urls = append(urls, p.URL())
	}
	return strings.Join(urls, ",")
}

// Cut ends its connections; it may connect again at once.
func (n *Network) Cut() { n.either((*wall).cut, (*proxy.Proxy).Cut) }

// Refuse ends its connections and takes no new ones until Accept.
func (n *Network) Refuse() { n.either((*wall).refuse, (*proxy.Proxy).Refuse) }

// Accept takes connections again.
func (n *Network) Accept() { n.either((*wall).accept, (*proxy.Proxy).Accept) }

// Swallow drops all that is sent, both ways, without a word, while on. A container is taken off its network.
func (n *Network) Swallow(on bool) {
	n.either(func(w *wall) { w.swallow(on) }, func(p *proxy.Proxy) { p.Swallow(on) })
}

// Delay holds everything up for so long, both ways.
func (n *Network) Delay(d time.Duration) { n.each(func(p *proxy.Proxy) { p.Delay(d) }) }

// Pieces has what the servers send passed on in pieces of at most so many bytes.
func (n *Network) Pieces(bytes int) { n.each(func(p *proxy.Proxy) { p.Pieces(bytes) }) }

// Hold keeps what the process sends, until Release delivers it.
func (n *Network) Hold() { n.each((*proxy.Proxy).Hold) }

// Release delivers what was held.
func (n *Network) Release() { n.each((*proxy.Proxy).Release) }

// Watch calls the functions with what is said, see [proxy.Proxy.Watch].
func (n *Network) Watch(sent, answered func([]byte)) {
	n.each(func(p *proxy.Proxy) { p.Watch(sent, answered) })
}

// Listen keeps what the process and its servers say from now on. It takes the place of Watch.
func (n *Network) Listen() *proxy.Conversation {
	n.stack.use(Proxies)
	return proxy.Listen(n.proxies...)
}

// Filter is Watch for functions that say what to pass on, see [proxy.Proxy.Filter].
func (n *Network) Filter(sent, answered func([]byte) bool) {
	n.each(func(p *proxy.Proxy) { p.Filter(sent, answered) })
}

func (n *Network) either(container func(*wall), process func(*proxy.Proxy)) {
	n.stack.use(Cuts)
	if n.wall != nil {
		container(n.wall)
		return
	}
	for _, p := range n.proxies {
		process(p)
	}
}

// each is for what only a proxy can do.
func (n *Network) each(f func(*proxy.Proxy)) {
	n.stack.use(Proxies)
	for _, p := range n.proxies {
		f(p)
	}
}
