package holder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/reconciler/plan"
)

// write carries out a plan and waits until it is in view. Until then, and after an error until a plan is made
// of a view that has all of it, the devices concerned are not answered.
func (h *Holder) write(ctx context.Context, t *kv.Term, p plan.Plan, now time.Time) error {
	h.behind.Store(true)
	h.underWay.set(p.Groups)
	began := time.Now()
	outcome, err := h.carryOut(ctx, t, p, now)
	h.cfg.Metrics.carriedOut(&p, outcome, time.Since(began))
	if err != nil {
		return err
	}
	h.underWay.clear()
	return nil
}

// carryOut writes a plan. What cannot be written as it is must not hold up the rest: when a part was written,
// the next plan holds only what is missing of this one; when nothing was, each Deployment is written by
// itself and those that cannot be are left out for a while. The outcome is for the metrics.
func (h *Holder) carryOut(ctx context.Context, t *kv.Term, p plan.Plan, now time.Time) (outcome string, err error) {
	ops, err := operations(p)
	if err != nil {
		return planFailed, err
	}
	began := time.Now()
	last, err := t.Write(ctx, ops)
	switch {
	case err == nil:
		outcome = planWritten
		h.cfg.Metrics.wrote(p.Groups)
	case ends(ctx, err):
		return ending(err), err
	case last != 0:
		h.cfg.Log.Warn("plan written in part", "epoch", t.Epoch(), "revision", last, "err", err)
		h.announce(t, p)
		return planPartly, h.reach(ctx, last)
	default:
		outcome = planSingly
		if last, err = h.writeEach(ctx, t, p, now); err != nil {
			return ending(err), err
		}
	}
	puts, deletes := p.Counts()
	h.cfg.Log.Info("plan written", "puts", puts, "deletes", deletes, "deployments", len(p.Groups),
		"epoch", t.Epoch(), "revision", last, "took", time.Since(began).Round(time.Millisecond))
	h.announce(t, p)
	if last == 0 {
		return outcome, nil
	}
	return outcome, h.reach(ctx, last)
}

// writeEach writes the groups of a plan one by one, after they could not be written together.
func (h *Holder) writeEach(ctx context.Context, t *kv.Term, p plan.Plan, now time.Time) (last uint64, err error) {
	for _, g := range p.Groups {
		ops, err := operations(plan.Plan{Groups: []plan.Group{g}})
		if err != nil {
			return last, err
		}
		reached, err := t.Write(ctx, ops)
		last = max(last, reached)
		switch {
		case err == nil:
			h.refusals.clear(g.Deployment)
			h.cfg.Metrics.wrote([]plan.Group{g})
		case ends(ctx, err):
			return last, err
		default:
			h.refusals.add(g.Deployment, err, now)
			h.cfg.Log.Warn("deployment cannot be written", "deployment", g.Deployment, "err", err)
		}
	}
	if p.Hold == nil {
		return last, nil
	}
	ops, err := operations(plan.Plan{Hold: p.Hold})
	if err != nil {
		return last, err
	}
	reached, err := t.Write(ctx, ops)
	return max(last, reached), err
}

// ends reports whether an error is about the holder rather than about what it wanted to write.
func ends(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, kv.ErrDeposed) || errors.Is(err, kv.ErrUnknownOutcome)
}

// operations turns a plan into writes, in the order in which they have to happen: each Deployment's keys,
// then its applied record, the hold last.
func operations(p plan.Plan) ([]kv.Write, error) {
	puts, deletes := p.Counts()
	ops := make([]kv.Write, 0, puts+deletes+len(p.Groups)+1)
	for i := range p.Groups {
		g := &p.Groups[i]
		for _, a := range g.Puts {
			ops = append(ops, kv.Write{Key: fleet.DesiredKey(a.Pair), Value: a.Value.Bytes})
		}
		for _, d := range g.Deletes {
			ops = append(ops, kv.Write{
				Key: fleet.DesiredKey(d.Pair), Delete: true,
				Header: map[string]string{fleet.HeaderCause: string(d.Cause)},
			})
		}
		if g.Applied != nil {
			op, err := record(fleet.AppliedKey(g.Deployment), g.Applied.Value)
			if err != nil {
				return nil, err
			}
			ops = append(ops, op)
		}
	}
	if p.Hold != nil {
		op, err := record(fleet.KeyHold, p.Hold.Value)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// record writes a record of the reconciler's own; nil deletes it.
func record[T any](key string, value *T) (kv.Write, error) {
	if value == nil {
		return kv.Write{Key: key, Delete: true}, nil
	}
	b, err := json.Marshal(value)
	if err != nil {
		return kv.Write{}, fmt.Errorf("encode %s: %w", key, err)
	}
	return kv.Write{Key: key, Value: b}, nil
}
