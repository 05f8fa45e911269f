package lab

import (
	"context"
	"io"
	"time"

	"harmony.dev/e2e/record"
)

// natsServices returns the servers of docker-compose.yml, or those with its overlay.
func natsServices(nodes int) []string { return []string{"nats", "nats-2", "nats-3"}[:nodes] }

// mostNodes is how many servers the overlay has.
const mostNodes = 3

// natsContainers starts the shipped server, or all three, on empty volumes.
func (s *Stack) natsContainers(o Options) *NATS {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	up := s.project.Compose
	if o.Nodes > 1 {
		s.use(Nodes)
		up = s.project.Cluster
	}
	if err := s.project.removeNATS(); err != nil {
		s.t.Fatalf("remove what an earlier test has left: %v", err)
	}
	began, services := time.Now(), natsServices(max(o.Nodes, 1))
	if _, err := up(ctx, append([]string{"up", "-d"}, services...)...); err != nil {
		s.t.Fatalf("start NATS: %v", err)
	}
	n := &NATS{t: s.t}
	for i, name := range services {
		nd := &node{stack: s, name: name, port: projectNATSPort + i}
		n.nodes = append(n.nodes, nd)
		if err := nd.adopt(ctx, began); err != nil {
			s.t.Fatalf("find the container of %s: %v", name, err)
		}
	}
	for _, nd := range n.nodes {
		nd.await()
	}
	return n
}

// adopt takes over a server that Compose has started. The engine is not to start it again when the test kills it.
func (nd *node) adopt(ctx context.Context, began time.Time) error {
	id, err := nd.stack.project.container(ctx, nd.name)
	if err != nil {
		return err
	}
	if _, err := docker(ctx, "update", "--restart=no", id); err != nil {
		return err
	}
	if nd.files, err = nd.stack.project.volume(ctx, nd.name); err != nil {
		return err
	}
	log := openLog(nd.stack.t, nd.stack.dir, nd.name)
	nd.stack.t.Cleanup(func() { _ = log.Close() })
	if nd.proc, err = follow(id, began, log); err != nil {
		return err
	}
	nd.note(record.ProcessStarted)
	return nil
}

// again starts the container again.
func (c *container) again(log io.Writer) (*container, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	began := time.Now()
	if _, err := docker(ctx, "start", c.id); err != nil {
		return nil, err
	}
	return follow(c.id, began, log)
}

// removeNATS removes the servers, and what they and the devices of a test have stored.
func (p *Project) removeNATS() error {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	services := natsServices(mostNodes)
	if err := p.remove(ctx, append(services, "devices")...); err != nil {
		return err
	}
	volumes := []string{"volume", "rm", "--force"}
	for _, name := range append(services, "devices") {
		volumes = append(volumes, projectName+"_"+name)
	}
	_, err := docker(ctx, volumes...)
	return err
}

// user is who the test is to the server, as a URL has it: "" without users, "admin:secret@".
func (nd *node) user() string {
	if nd.stack.project == nil {
		return ""
	}
	return adminUser + "@"
}
