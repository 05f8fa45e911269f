package scenarios

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   while all services are down (SIGKILL) one Deployment is deleted, and is Terminating because of its
// finalizer; another one's finalizer is stripped by hand, and it is gone.
// Promise: all keys of both go; the agents tear both down; nothing else is touched: no other key, no other resource.
// Budget:  correct within 30 s of the start.
// Found:   -
func TestR04_DeploymentDeletedWhileDown(t *testing.T) {
	t.Parallel()
	d := newDoomed(t)
	d.deletedWhileDown(t, func() {})
	d.restUntouched(t)
}

// Fault:   the same, and the reconciler comes back with a slow way to its bucket.
// Promise: the same, and the finalizer is released only after the last key is gone from the stream.
// Budget:  correct within 30 s of the start.
// Found:   -
func TestR04_SlowWayToTheBucket(t *testing.T) {
	t.Parallel()
	// Keys are written on the data connection, and the release is asked for on the other one.
	d := newDoomed(t, "--control-nats-url")
	released := make(chan map[string]lab.Entry, 10)
	slow := fault.ConnectionDelay{Instance: d.reconciler, By: 300 * time.Millisecond}
	d.deletedWhileDown(t, func() {
		d.patcher.Kube.OnDone(func(r *http.Request, status int) {
			if r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/deployments/doomed") && status == http.StatusOK {
				keys, err := d.NATS.Keys(context.WithoutCancel(r.Context()), fleet.BucketDesiredState)
				if err != nil {
					t.Errorf("read desired-state when the finalizer was released: %v", err)
				}
				released <- keys
			}
		})
		fault.Inject(d.Stack, slow)
	})
	fault.Heal(d.Stack, slow)
	select {
	case keys := <-released:
		for key := range keys {
			if isOf(key, "doomed") {
				t.Errorf("the finalizer was released before %s was gone", key)
			}
		}
	default:
		t.Error("nobody released the finalizer")
	}
	d.restUntouched(t)
}

// doomed is a stack of which two of three Deployments are to go.
type doomed struct {
	*lab.Stack
	patcher, aggregator, reconciler *lab.Instance
	before                          lab.Picture
}

// newDoomed starts it. The reconciler is given NATS by further flags as well.
func newDoomed(t *testing.T, natsFlags ...string) *doomed {
	t.Helper()
	s := lab.New(t, lab.Options{})
	flags := slices.Clone(quickBrake)
	for _, f := range natsFlags {
		flags = append(flags, f, s.NATS.URL())
	}
	d := &doomed{
		Stack: s, patcher: s.Start(fleet.ServicePatcher), aggregator: s.Start(fleet.ServiceAggregator),
		reconciler: s.Start(fleet.ServiceReconciler, flags...),
	}
	s.WaitReady(3)
	s.StartDevices(24)
	registered(t, s, 24)
	s.API.Apply(deployment("stays", fleet.Selector{}))
	s.API.Apply(deployment("doomed", region("north", "south")))
	s.API.Apply(deployment("lost", region("east"))) // 6 of 42 keys: below the brake
	settled(t, s, "stays", counts(24, 24, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "doomed", counts(12, 12, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "lost", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
	d.before = s.AtRest()
	return d
}

// deletedWhileDown deletes the two while nothing runs, and waits until they are gone. Meet is called before the services
// come back.
func (d *doomed) deletedWhileDown(t *testing.T, meet func()) {
	t.Helper()
	all := fault.Kill{d.patcher, d.aggregator, d.reconciler}
	fault.Inject(d.Stack, all)
	d.API.Delete(fleet.KindDeployment, "doomed")
	if u, err := d.API.Get(t.Context(), fleet.KindDeployment, "doomed"); err != nil || u.GetDeletionTimestamp() == nil {
		t.Fatalf("doomed is not Terminating: %v, %v", u, err)
	}
	fault.Inject(d.Stack, fault.Vanish{Kind: fleet.KindDeployment, Names: []string{"lost"}})
	meet()
	fault.Heal(d.Stack, all)
	began := time.Now()

	d.Eventually(30*time.Second, "both to be gone, with all their keys", func(ctx context.Context) error {
		for _, name := range []string{"doomed", "lost"} {
			if err := d.API.Gone(ctx, fleet.KindDeployment, name); err != nil {
				return err
			}
		}
		entries, err := d.NATS.Entries(ctx, fleet.BucketDesiredState)
		for key, e := range entries {
			if !e.Delete && ofEither(key, "doomed", "lost") {
				return fmt.Errorf("%s is %v", key, e)
			}
		}
		return err
	})
	tornDown(t, d.Stack, "doomed", "lost")
	d.Measured("deleted while down: keys gone, torn down", time.Since(began), 30*time.Second)
}

// restUntouched asserts that nothing else has changed.
func (d *doomed) restUntouched(t *testing.T) {
	t.Helper()
	d.WaitReady(3)
	settled(t, d.Stack, "stays", counts(24, 24, 0, 0, 0), fleet.ConditionTrue)
	if diff := others(d.before, d.AtRest(), "doomed", "lost"); len(diff) > 0 {
		t.Errorf("more was touched: %q", diff)
	}
}

// ofEither reports whether one of these names is a token of a key.
func ofEither(key string, names ...string) bool {
	return slices.ContainsFunc(strings.Split(key, "."), func(token string) bool { return slices.Contains(names, token) })
}

// others is what differs between two pictures and is not about one of these names. Agents may say again what
// they have said.
func others(before, after lab.Picture, names ...string) (out []string) {
	about := func(d string) bool {
		key, _, _ := strings.Cut(d, " ")
		return ofEither(strings.ReplaceAll(key, "/", "."), names...)
	}
	out = lab.Changed("", before.Resources, after.Resources)
	for bucket := range before.Keys {
		was, is := before.Keys[bucket], after.Keys[bucket]
		if strings.HasPrefix(bucket, "device-") {
			was, is = values(was), values(is)
		}
		out = append(out, lab.Changed(bucket+"/", was, is)...)
	}
	return slices.DeleteFunc(out, about)
}

// values are entries without when they were written.
func values(entries map[string]lab.Entry) map[string]lab.Entry {
	out := map[string]lab.Entry{}
	for key, e := range entries {
		out[key] = lab.Entry{Value: e.Value}
	}
	return out
}
