package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"harmony.dev/fleet/fleettest/kubetest"
	"harmony.dev/fleet/service"
)

// composeVariable names the command that runs Compose, such as "docker compose"; without it that is docker-compose
// where there is one.
const composeVariable = "E2E_COMPOSE"

// Where the project of the tests listens on 127.0.0.1: beside what a person runs on the ports that the shipped
// file has by default.
const (
	projectName     = "fleet-e2e"
	projectNATSPort = 24222 // and the next two, of a cluster
	projectKubePort = 26443
	// DashboardPort is where the dashboard of the project is.
	DashboardPort = 28484
	adminUser     = "admin:development%20only" // of deploy/compose/secrets/nats-users.conf
)

// Project is docker-compose.yml as it is shipped. For stacks it is run once for all tests of a binary: the Kubernetes
// API stays, and each test has NATS and instances of its own. Tests take turns.
type Project struct {
	root string
	dir  string // for what is copied out of containers

	kube *kubetest.Server
	k3s  string // its container
}

var shared struct {
	sync.Once
	project *Project
	err     error
}

// compose returns the project; the first call starts what all tests share.
func compose(t testing.TB) *Project {
	t.Helper()
	root := Root(t)
	shared.Do(func() {
		if shared.project, shared.err = newProject(root); shared.err == nil {
			shared.err = shared.project.up()
		}
	})
	if shared.err != nil {
		t.Fatalf("start docker-compose.yml (scripts/engine start; scripts/images --stand-ins): %v", shared.err)
	}
	return shared.project
}

func newProject(root string) (*Project, error) {
	dir, err := os.MkdirTemp("", projectName+"-")
	if err != nil {
		return nil, err
	}
	p := &Project{root: root, dir: dir}
	return p, os.WriteFile(p.env(), nil, 0o600)
}

// env is an empty file of variables, in the place of that in which a person has set them for another use.
func (p *Project) env() string { return filepath.Join(p.dir, "env") }

// Shipped is the project as nobody has started it yet, for tests of the shipped files themselves. What they start is
// taken away when the test ends.
func Shipped(t testing.TB) *Project {
	t.Helper()
	p, err := newProject(Root(t))
	if err == nil {
		err = p.down(t.Context())
	}
	if err != nil {
		t.Fatalf("take away what was left of docker-compose.yml: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := errors.Join(p.down(ctx), os.RemoveAll(p.dir)); err != nil {
			t.Errorf("take docker-compose.yml away: %v", err)
		}
	})
	return p
}

// up starts the API and has the custom resources defined, on nothing that an earlier run has left.
func (p *Project) up() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if err := p.down(ctx); err != nil {
		return err
	}
	if _, err := p.Compose(ctx, "up", "-d", "crds"); err != nil {
		return err
	}
	id, err := p.container(ctx, "crds")
	if err != nil {
		return err
	}
	if code, err := docker(ctx, "wait", id); err != nil || code != "0" {
		said, _ := docker(ctx, "logs", id) // what there is of it
		return fmt.Errorf("the one-shot crds ended with %s, %w: %s", code, err, said)
	}
	p.kube, err = p.Connect(ctx)
	return err
}

// Connect reaches the API through its port on 127.0.0.1, by the kubeconfig that k3s has written.
func (p *Project) Connect(ctx context.Context) (_ *kubetest.Server, err error) {
	if p.k3s, err = p.container(ctx, "k3s"); err != nil {
		return nil, err
	}
	file := filepath.Join(p.dir, "kubeconfig")
	if _, err := docker(ctx, "cp", p.k3s+":/output/kubeconfig.yaml", file); err != nil {
		return nil, err
	}
	config, err := clientcmd.LoadFromFile(file)
	if err != nil {
		return nil, err
	}
	url := fmt.Sprintf("https://127.0.0.1:%d", projectKubePort)
	for _, cluster := range config.Clusters {
		cluster.Server = url
	}
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return nil, err
	}
	return kubetest.Connect(url, file)
}

// URL is where NATS listens, for the user admin.
func (p *Project) URL() string {
	return fmt.Sprintf("nats://%s@127.0.0.1:%d", adminUser, projectNATSPort)
}

// down removes containers, networks and volumes of the project.
func (p *Project) down(ctx context.Context) error {
	if err := p.remove(ctx); err != nil { // those of `run` among them, which down leaves
		return err
	}
	_, err := p.Cluster(ctx, "down", "-v", "--remove-orphans")
	return err
}

// start starts a container of a service with flags of its own, apart from those that `up` starts: its name, as the
// product's programs have it, is that of the image's binary.
func (p *Project) start(binary, id string, args []string, out io.Writer) (*container, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	service := strings.TrimPrefix(binary, "fleet-")
	if service == "sim" {
		service = "devices"
	}
	name := projectName + "-" + id
	if _, err := docker(ctx, "rm", "--force", name); err != nil && !strings.Contains(err.Error(), "No such container") {
		return nil, err
	}
	began := time.Now()
	if _, err := p.Cluster(ctx, append([]string{"run", "-d", "--no-deps", "--name", name, service}, args...)...); err != nil {
		return nil, err
	}
	return follow(name, began, out)
}

// containers are the ids of the containers of the instances and servers that were started, by name.
func (s *Stack) containers() map[string]string {
	if s.project == nil {
		return nil
	}
	ids := map[string]string{"k3s": s.project.k3s}
	for _, i := range s.Instances("") {
		ids[i.ID()] = i.Container()
	}
	for _, nd := range s.NATS.nodes {
		if c, ok := nd.proc.(*container); ok {
			ids[nd.name] = c.id
		}
	}
	return ids
}

// Compose runs Compose on docker-compose.yml, and returns what it printed.
func (p *Project) Compose(ctx context.Context, args ...string) (string, error) {
	return p.run(ctx, []string{"docker-compose.yml"}, args)
}

// Cluster runs Compose with the overlay of three NATS servers.
func (p *Project) Cluster(ctx context.Context, args ...string) (string, error) {
	return p.run(ctx, []string{"docker-compose.yml", "docker-compose.cluster.yml"}, args)
}

func (p *Project) run(ctx context.Context, files, args []string) (string, error) {
	command := append(composeCommand(), "--env-file", p.env())
	for _, f := range files {
		command = append(command, "-f", f)
	}
	cmd := exec.CommandContext(ctx, command[0], append(command[1:], args...)...)
	cmd.Dir = p.root
	cmd.Env = append(service.WithoutSettings(os.Environ()),
		"COMPOSE_PROJECT_NAME="+projectName,
		fmt.Sprintf("FLEET_NATS_PORT=%d", projectNATSPort), fmt.Sprintf("FLEET_NATS_2_PORT=%d", projectNATSPort+1),
		fmt.Sprintf("FLEET_NATS_3_PORT=%d", projectNATSPort+2), fmt.Sprintf("FLEET_KUBE_PORT=%d", projectKubePort),
		fmt.Sprintf("FLEET_DASHBOARD_PORT=%d", DashboardPort),
		"FLEET_SUBNET=172.30.216.0/24",
	)
	return output(cmd)
}

// composeCommand is how Compose is called: version 1 where it is, since it is the stricter one, or version 2.
func composeCommand() []string {
	if words := strings.Fields(os.Getenv(composeVariable)); len(words) > 0 {
		return words
	}
	if _, err := exec.LookPath("docker-compose"); err == nil {
		return []string{"docker-compose"}
	}
	return []string{"docker", "compose"}
}

// container returns the id of the container of a service.
func (p *Project) container(ctx context.Context, service string) (string, error) {
	ids, err := p.Containers(ctx, service)
	if err == nil && len(ids) != 1 {
		err = fmt.Errorf("%d containers of %s", len(ids), service)
	}
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// Containers returns the ids of the containers of a service, or of all for "".
func (p *Project) Containers(ctx context.Context, service string) ([]string, error) {
	filters := []string{"--filter", "label=com.docker.compose.project=" + projectName}
	if service != "" {
		filters = append(filters, "--filter", "label=com.docker.compose.service="+service)
	}
	text, err := docker(ctx, append([]string{"ps", "--all", "--quiet", "--no-trunc"}, filters...)...)
	return strings.Fields(text), err
}

// remove removes the containers of services, or all for none.
func (p *Project) remove(ctx context.Context, services ...string) error {
	var ids []string
	if len(services) == 0 {
		services = []string{""}
	}
	for _, service := range services {
		more, err := p.Containers(ctx, service)
		if err != nil {
			return err
		}
		ids = append(ids, more...)
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := docker(ctx, append([]string{"rm", "--force", "--volumes"}, ids...)...)
	return err
}

// volume returns where on this machine the content of a volume is.
func (p *Project) volume(ctx context.Context, name string) (string, error) {
	return docker(ctx, "volume", "inspect", "--format", "{{.Mountpoint}}", projectName+"_"+name)
}

// Left returns what there still is of the project: containers, networks and volumes.
func (p *Project) Left(ctx context.Context) (string, error) {
	var left []string
	for _, kind := range []string{"container", "network", "volume"} {
		args := []string{kind, "ls", "--quiet", "--filter", "label=com.docker.compose.project=" + projectName}
		if kind == "container" {
			args = append(args, "--all")
		}
		ids, err := docker(ctx, args...)
		if err != nil {
			return "", err
		}
		for _, id := range strings.Fields(ids) {
			left = append(left, kind+" "+id)
		}
	}
	return strings.Join(left, ", "), nil
}

// Docker runs the docker command and returns what it printed.
func Docker(ctx context.Context, args ...string) (string, error) { return docker(ctx, args...) }

func docker(ctx context.Context, args ...string) (string, error) {
	return command(ctx, append([]string{"docker"}, args...)...)
}

// command runs a command and returns what it printed.
func command(ctx context.Context, words ...string) (string, error) {
	return output(exec.CommandContext(ctx, words[0], words[1:]...))
}

// output runs a command; its error has what the command said.
func output(cmd *exec.Cmd) (string, error) {
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(string(out)), err
}

// Main runs the tests of a package that uses stacks, takes away what they share, and returns the exit code.
func Main(m *testing.M) int {
	return kubetest.Main(m, func() error {
		p := shared.project
		if p == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return errors.Join(p.down(ctx), os.RemoveAll(p.dir))
	})
}
