package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/invariant"
	"harmony.dev/e2e/lab"
	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// The fleet of a soak.
const (
	deviceCount     = 12
	deploymentCount = 4
)

// selectors are what an action's Value chooses from.
var selectors = []fleet.Selector{
	{},
	{MatchLabels: map[string]string{"region": "north"}},
	{MatchExpressions: []fleet.SelectorRequirement{{Key: "region", Operator: "In", Values: []string{"north", "east"}}}},
	{MatchLabels: map[string]string{"arch": "arm64"}},
	{MatchLabels: map[string]string{"tier": "1"}},
	{MatchExpressions: []fleet.SelectorRequirement{{Key: "tier", Operator: "DoesNotExist"}}},
}

// player plays rounds on a stack.
type player struct {
	stack    *lab.Stack
	services []*lab.Instance
	devices  *lab.Instance
	wanted   map[int]lab.Deployment // as applied last
}

func newPlayer(s *lab.Stack) *player {
	p := &player{stack: s, wanted: map[int]lab.Deployment{}}
	p.services = s.StartServices()
	p.devices = s.StartDevices(deviceCount)
	s.AwaitDevices(60*time.Second, deviceCount, "")
	return p
}

// play plays a round, heals its faults and waits until everything is as it should be. It returns what the
// checkers found.
func (p *player) play(round Round) []invariant.Violation {
	var injected []fault.Fault
	for _, a := range round {
		if f := p.fault(a); f != nil {
			fault.Inject(p.stack, f)
			injected = append(injected, f)
		} else {
			p.edit(a)
		}
		time.Sleep(a.Pause)
	}
	for _, f := range injected {
		fault.Heal(p.stack, f)
	}
	p.quiet()
	return invariant.Judge(p.stack.Recorded())
}

// fault returns what an action injects, nil for an edit.
func (p *player) fault(a Action) fault.Fault {
	one := p.services[a.Target%len(p.services) : a.Target%len(p.services)+1]
	switch a.Kind {
	case KillService:
		return oneByOne{fault.Kill(one)}
	case StopService:
		return oneByOne{fault.Restart(one)}
	case PauseService:
		return fault.Pause(one)
	case CutNATS:
		return fault.ConnectionCut(one)
	case RefuseNATS:
		return fault.RefuseNATS(one)
	case RefuseKube:
		return fault.APIDown{Patcher: p.stack.Instances(fleet.ServicePatcher)[0]}
	case KillNATS:
		return oneByOne{fault.KillNATS{}}
	case DeleteStream:
		return fault.StreamDelete(p.bucket(a))
	case PurgeStream:
		return fault.StreamPurge(p.bucket(a))
	case WipeStore:
		return fault.StoreWipe{}
	case WriteByHand:
		p.there(fleet.BucketDesiredState)
		pair := fleet.Pair{Device: device(a), Deployment: fleet.DeploymentName(deploymentName(a.Value % deploymentCount))}
		return &fault.RawWrite{Bucket: fleet.BucketDesiredState, Key: fleet.DesiredKey(pair), Value: `{"score":{"type":"sim"},"uid":"by-hand"}`}
	case CutDevices:
		return fault.RefuseNATS{p.devices}
	default:
		return nil
	}
}

// bucket is the one that an action means, once it is there.
func (p *player) bucket(a Action) string {
	buckets := record.Buckets()
	bucket := buckets[a.Target%len(buckets)]
	p.there(bucket)
	return bucket
}

// there waits until a bucket is there: another action of the round may have taken it away.
func (p *player) there(bucket string) {
	p.stack.T().Helper()
	p.stack.Eventually(60*time.Second, bucket+" to be there", func(ctx context.Context) error {
		_, err := p.stack.NATS.JetStream().Stream(ctx, fleet.StreamName(bucket))
		return err
	})
}

// device is the one that an action means.
func device(a Action) fleet.DeviceID {
	return fleet.DeviceID(fmt.Sprintf("dev-%04d", a.Target%deviceCount+1))
}

// oneByOne is a fault that is healed at once, since others of the round may need what it took away.
// It is none by which a bucket loses anything.
type oneByOne struct{ fault.Fault }

func (o oneByOne) Inject(s *lab.Stack) {
	o.Fault.Inject(s)
	o.Fault.Heal(s)
}

func (oneByOne) Heal(*lab.Stack) {}

// edit does what a person does. What is not there cannot be edited: then it does nothing.
func (p *player) edit(a Action) {
	p.stack.T().Helper()
	n := a.Target % deploymentCount
	id := string(device(a))
	var err error
	switch a.Kind {
	case Select, Score:
		p.apply(n, a)
	case Remove:
		delete(p.wanted, n)
		err = p.stack.API.TryDelete(fleet.KindDeployment, deploymentName(n))
	case Label:
		err = p.stack.API.TryPatch(fleet.KindDevice, id, map[string]any{"metadata": map[string]any{"labels": map[string]any{"tier": fmt.Sprint(a.Value % 3)}}})
	case Quarantine:
		err = p.stack.API.TryPatch(fleet.KindDevice, id, map[string]any{"spec": map[string]any{"quarantined": a.Value%2 == 0}})
	case Reset:
		err = p.stack.API.TryDelete(fleet.KindDevice, id)
	default:
		err = fmt.Errorf("unknown action %q", a.Kind)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		p.stack.T().Fatalf("%s: %v", a, err)
	}
}

func deploymentName(n int) string { return fmt.Sprintf("app-%d", n) }

func (p *player) apply(n int, a Action) {
	d, ok := p.wanted[n]
	if !ok {
		d = lab.Deployment{Name: deploymentName(n), Score: fleet.Score{Type: "sim", Data: json.RawMessage(`{"image":"demo:0"}`)}}
	}
	if a.Kind == Select {
		d.Selector = selectors[a.Value%len(selectors)]
	} else {
		d.Score.Data = json.RawMessage(fmt.Sprintf(`{"image":"demo:%d"}`, a.Value%5))
	}
	p.wanted[n] = d
	p.stack.API.Apply(d)
}

// quiet waits until everything is as it should be. What the brake holds is approved, as by a person who
// knows that the edits are meant.
func (p *player) quiet() {
	p.stack.T().Helper()
	p.stack.Eventually(120*time.Second, "the services ready after a round", func(ctx context.Context) error {
		if err := p.stack.Ready(ctx, len(p.services)); err != nil {
			return errors.Join(err, p.approve(ctx))
		}
		return nil
	})
	p.stack.Converged(120*time.Second, len(p.services))
}

// approve approves the present hold, if there is one.
func (p *player) approve(ctx context.Context) error {
	entries, err := p.stack.NATS.Entries(ctx, fleet.BucketDesiredState)
	if err != nil {
		return err
	}
	e, ok := entries[fleet.KeyHold]
	if !ok || e.Delete {
		return nil
	}
	hold, err := fleet.DecodeHold([]byte(e.Value))
	if err != nil || hold.Approved {
		return err
	}
	_, err = rpc.Call[fleet.HoldApproveRequest, fleet.HoldApproveResponse](ctx, p.stack.Conn(), fleet.HoldApprove, fleet.HoldApproveRequest{ID: hold.ID})
	return err
}
