package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// panics is a stack whose services are ended by a panic in one goroutine after the other.
type panics struct {
	*lab.Stack
	client http.Client

	ended, shown, recovered time.Duration // the longest of each
}

// Beside the members of a service's run group and what they start for a term, which it names itself, these panic: the
// handler of a micro endpoint, a handler of HTTP, and a goroutine that nobody looks after, as each that makes one
// request and each goroutine and callback of a library is.
var otherPoints = []string{"endpoint", "handler", childPoint}

const childPoint = "child"

// Fault:   a panic in each long-lived goroutine of each service, one after the other, by the service's own list of
// them; in the handler of an endpoint; in a handler of HTTP; in a goroutine that nobody looks after.
// Promise: the process exits non-zero within 5 s; /readyz says no before, with the reason, and never yes again (a
// goroutine that nobody looks after ends it at once, without another answer); 'fleet status' shows it unhealthy at
// once; restarting heals. No goroutine of the product is missing from the list but such as make one request.
// Budget:  5 s to the exit.
// Found:   a panic in an HTTP handler, that of a probe for example, left the process running: net/http hides it. One in
// a loop that lives as long as a term ended the process before it had said that it is not ready.
func TestR18_Panic(t *testing.T) {
	t.Parallel()
	p := &panics{Stack: lab.New(t, lab.Options{})}
	var services []*lab.Instance
	for _, name := range fleet.Services() {
		services = append(services, p.Start(name, "--enable-fault-points", "--lease-ttl", "1s"))
	}
	p.WaitReady(3)
	p.StartDevices(4)
	registered(t, p.Stack, 4)
	p.API.Apply(deployment("web", region("north")))
	settled(t, p.Stack, "web", counts(1, 1, 0, 0, 0), fleet.ConditionTrue)
	before := withoutDevices(p.AtRest())

	for _, i := range services {
		t.Run(i.Service(), func(t *testing.T) { p.service(t, i) })
	}
	p.Measured("exit after a panic, the slowest", p.ended, 5*time.Second)
	p.Measured("'fleet status' shows it after a panic, the slowest", p.shown, 5*time.Second)
	p.Measured("ready after a restart, the slowest", p.recovered, 20*time.Second)

	p.WaitReady(3)
	if d := lab.Difference(before, withoutDevices(p.AtRest())); len(d) > 0 {
		t.Errorf("panics changed something: %q", d)
	}
	p.API.Apply(deployment("web", region("north", "south")))
	settled(t, p.Stack, "web", counts(2, 2, 0, 0, 0), fleet.ConditionTrue)
	p.AtRest()
}

// withoutDevices leaves out what devices write: they send it again when they are asked to, seconds after the
// services have come to rest.
func withoutDevices(p lab.Picture) lab.Picture {
	delete(p.Keys, fleet.BucketDeviceInfo)
	delete(p.Keys, fleet.BucketDeviceState)
	return p
}

// ofTerm are the goroutines that a holder of the lease has for a term, by service.
var ofTerm = map[string][]string{
	fleet.ServicePatcher:    {"apiserver", "finalizers"},
	fleet.ServiceReconciler: {"asker"},
	fleet.ServiceAggregator: {"caller", "devices", "sight", "statuses", "sweep"},
}

// service has every goroutine of a service panic.
func (p *panics) service(t *testing.T, i *lab.Instance) {
	points := p.goroutines(t, i)
	t.Logf("goroutines: %v", points)
	for _, name := range slices.Concat([]string{"http", "micro", "nats-control", "nats-data", "lease"}, ofTerm[i.Service()]) {
		if !slices.Contains(points, name) {
			t.Errorf("%s is not on the list of goroutines", name)
		}
	}
	if strays := strays(p.get(t, i, "/fault/stacks")); len(strays) > 0 {
		t.Errorf("goroutines that are neither on the list nor known to be children of one: %q", strays)
	}
	for _, point := range append(points, otherPoints...) {
		t.Run(point, func(t *testing.T) { p.run(t, i, point) })
	}
}

// goroutines is the service's own list.
func (p *panics) goroutines(t *testing.T, i *lab.Instance) (names []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(p.get(t, i, "/fault/goroutines")), &names); err != nil {
		t.Fatalf("read the list of goroutines: %v", err)
	}
	return names
}

func (p *panics) run(t *testing.T, i *lab.Instance, point string) {
	p.Eventually(20*time.Second, point+" to run", func(context.Context) error { // some wait for the lease
		if names := p.goroutines(t, i); !slices.Contains(names, point) && !slices.Contains(otherPoints, point) {
			return fmt.Errorf("only %v", names)
		}
		return nil
	})
	code, _, err := p.ready(i.HTTP())
	if err != nil || code != http.StatusOK {
		t.Fatalf("%s is not ready before the fault: %d, %v", i.ID(), code, err)
	}
	address := i.HTTP()
	f := fault.Panic{Instance: i, Point: point}
	fault.Inject(p.Stack, f)
	began := time.Now()
	if point == "endpoint" { // somebody has to ask; the answer, an error, is of no matter
		_, _ = rpc.CallEvery[struct{}, fleet.Health](t.Context(), p.Conn(), fleet.HealthEndpoint(i.Service()), struct{}{}, 200*time.Millisecond)
	}
	said := p.watch(address, began.Add(10*time.Second))
	err = i.Exited(5 * time.Second)
	ended := time.Since(began)
	if err == nil || strings.Contains(err.Error(), "signal") {
		t.Errorf("%s ended with %v", i.ID(), err)
	}
	if first := slices.Index(said, http.StatusServiceUnavailable); point != childPoint && first < 0 || first >= 0 && slices.Contains(said[first:], http.StatusOK) {
		t.Errorf("/readyz said %v before the end", said)
	}
	if err := p.unhealthy(t.Context(), i); err != nil {
		t.Error(err)
	}
	shown := time.Since(began)

	fault.Heal(p.Stack, f)
	began = time.Now()
	p.Eventually(30*time.Second, i.ID()+" ready again", func(context.Context) error {
		code, h, err := p.ready(i.HTTP())
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%d: %v", code, h.Reasons)
		}
		return err
	})
	p.ended, p.shown, p.recovered = max(p.ended, ended), max(p.shown, shown), max(p.recovered, time.Since(began))
}

// watch asks /readyz until nobody answers, and returns what was answered: 503 only with the panic as the reason.
func (p *panics) watch(address string, until time.Time) (said []int) {
	for time.Now().Before(until) {
		code, h, err := p.ready(address)
		if err != nil {
			return said
		}
		if code == http.StatusServiceUnavailable && (len(h.Reasons) == 0 || !strings.Contains(h.Reasons[0].Message, "fault point")) {
			code = -code
		}
		said = append(said, code)
		time.Sleep(5 * time.Millisecond)
	}
	return said
}

// ready asks /readyz.
func (p *panics) ready(address string) (int, fleet.Health, error) {
	var h fleet.Health
	code, body, err := p.ask(address, "/readyz")
	if err == nil {
		err = json.Unmarshal(body, &h)
	}
	return code, h, err
}

func (p *panics) ask(address, path string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(p.T().Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Close = true
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

func (p *panics) get(t *testing.T, i *lab.Instance, path string) string {
	t.Helper()
	code, body, err := p.ask(i.HTTP(), path)
	if err != nil || code != http.StatusOK {
		t.Fatalf("ask %s for %s: %d, %v", i.ID(), path, code, err)
	}
	return string(body)
}

// unhealthy checks that 'fleet status' shows the service to be out of order.
func (p *panics) unhealthy(ctx context.Context, i *lab.Instance) error {
	out, err := p.FleetCommand(ctx, "status", "--wait", "300ms", "-o", "json")
	if err == nil {
		return fmt.Errorf("'fleet status' finds everything in order after a panic of %s", i.ID())
	}
	var doc struct {
		Services []struct {
			Service  string         `json:"service"`
			Replicas []fleet.Health `json:"replicas"`
		} `json:"services"`
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		return fmt.Errorf("'fleet status' said %q: %w", out, err)
	}
	for _, s := range doc.Services {
		if s.Service != i.Service() {
			continue
		}
		if len(s.Replicas) > 0 && s.Replicas[0].Ready {
			return fmt.Errorf("'fleet status' shows %s ready after a panic", i.ID())
		}
		return nil
	}
	return fmt.Errorf("'fleet status' does not show %s: %s", i.Service(), out)
}

// children are the functions of the product that start goroutines beside the members of the run group. Those that live
// as long as a term are on the list of goroutines, too. A panic in any other ends the process as that of the
// point "child" does.
var children = []string{
	"harmony.dev/fleet/service.(*process).main",                     // the life of the process
	"harmony.dev/fleet/service.(*process).parentEnd",                // waits for the end of standard input
	"harmony.dev/fleet/service.(*process).life",                     // the run group itself
	"harmony.dev/fleet/service.(*group).run",                        // the members
	"harmony.dev/fleet/service.(*faults).guard",                     // the same: each runs beside its fault point
	"harmony.dev/fleet/service.listen",                              // net/http: the member http fails when it ends
	"harmony.dev/fleet/kv.(*Reflector).read",                        // the guard of a pass, which ends with it
	"harmony.dev/fleet/kv.(*Elector).hold",                          // lease
	"harmony.dev/fleet/kv.roundTrip",                                // one request
	"harmony.dev/fleet/rpc.(*pool).submit",                          // one request
	"harmony.dev/services/aggregator/acting.(*Holder).under",        // statuses, devices, sweep, caller, sight
	"harmony.dev/services/aggregator/acting.dispatch",               // one delivery
	"harmony.dev/services/aggregator/acting.(*sweep).tick",          // one delete
	"harmony.dev/services/patcher/keeper.(*Keeper).campaign",        // apiserver
	"harmony.dev/services/patcher/keeper.(*Keeper).startFinalizers", // finalizers
	"harmony.dev/services/patcher/keeper.(*finalizers).tryAll",      // one request
	"harmony.dev/services/patcher/keeper.(*Keeper).relist",          // one request
	"harmony.dev/services/reconciler/holder.(*Holder).act",          // asker
	"harmony.dev/services/reconciler/holder.(*asker).run",           // one request
}

// How a dump of goroutines shows who started one: itself, or by the function that it gave to a group.
var (
	createdBy   = regexp.MustCompile(`(?m)^created by (\S+?)(\.func[0-9.]+)? in goroutine`)
	groups      = []string{"sync.(*WaitGroup).Go", "golang.org/x/sync/errgroup.(*Group).Go"}
	inGoroutine = regexp.MustCompile(`(?m)^(harmony\.dev/.+?)(\.func[0-9.]+|\.gowrap[0-9]+)*\([^()]*\)$`)
)

// strays are the functions of the product that started a goroutine which is neither a member of the run group nor
// a known child.
func strays(stacks string) (out []string) {
	for _, goroutine := range strings.Split(stacks, "\n\n") {
		m := createdBy.FindStringSubmatch(goroutine)
		if m == nil {
			continue
		}
		creator := m[1]
		if frames := inGoroutine.FindAllStringSubmatch(goroutine, -1); slices.Contains(groups, creator) && len(frames) > 0 {
			creator = frames[len(frames)-1][1]
		}
		if strings.HasPrefix(creator, "harmony.dev/") && !slices.Contains(children, creator) && !slices.Contains(out, creator) {
			out = append(out, creator)
		}
	}
	return out
}
