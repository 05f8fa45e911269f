package holder

import (
	"context"
	"fmt"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/rpc"
	"harmony.dev/services/reconciler/plan"
	"harmony.dev/services/reconciler/view"
)

// HowToApprove says what a person can do about a hold.
func HowToApprove(id string) string {
	return fmt.Sprintf("look at it with: fleet hold show; approve it with: fleet hold approve %s", id)
}

// approval asks the holder's loop to approve a hold.
type approval struct {
	id    string
	reply chan<- approved // has room for the answer
}

type approved struct {
	hold fleet.Hold
	err  error
}

// Approve approves the hold of that id: every delete that it counted passes. It returns [rpc.ErrSilent]
// on a replica that does not hold the lease.
func (h *Holder) Approve(ctx context.Context, req fleet.HoldApproveRequest) (fleet.HoldApproveResponse, error) {
	if req.ID == "" {
		return fleet.HoldApproveResponse{}, fleet.Errorf(fleet.CodeInvalid, "NoID", "name the id of the hold to approve")
	}
	if h.cfg.Elector.Term() == nil {
		return fleet.HoldApproveResponse{}, rpc.ErrSilent
	}
	reply := make(chan approved, 1)
	select {
	case h.approvals <- approval{req.ID, reply}:
	case <-ctx.Done():
		return fleet.HoldApproveResponse{}, unavailable("Busy", "the reconciler is writing: try again")
	}
	select {
	case a := <-reply:
		return fleet.HoldApproveResponse{Hold: a.hold}, a.err
	case <-ctx.Done():
		return fleet.HoldApproveResponse{}, unavailable("Unknown", "it is not known whether the hold was approved: look again")
	}
}

// approve carries out an approval in the loop, so that it is fenced like any other write.
func (h *Holder) approve(ctx context.Context, t *kv.Term, a approval) error {
	hold, written, err := h.approvable(a.id)
	if err != nil || written {
		a.reply <- approved{hold, err}
		return nil //nolint:nilerr // who asked has the answer; the loop goes on
	}
	op, err := record(fleet.KeyHold, &hold)
	if err != nil {
		return err
	}
	last, err := t.Write(ctx, []kv.Write{op})
	if err != nil {
		a.reply <- approved{err: unavailable("NotWritten", "the approval could not be written: look again")}
		return err
	}
	a.reply <- approved{hold: hold}
	h.cfg.Log.Info("hold approved", "hold", hold.ID, "deletes", hold.Deletes, "revision", last)
	return h.reach(ctx, last)
}

// approvable returns the hold as approved, and whether it is already.
func (h *Holder) approvable(id string) (hold fleet.Hold, written bool, err error) {
	h.cfg.View.Do(func(s *plan.State, now view.Now) {
		if !now.Synced {
			err = unavailable("NotSynced", "the buckets are not in view: try again")
			return
		}
		before, _ := s.Hold()
		hold, err = s.Approve(id)
		written = before.Approved
	})
	return hold, written, err
}

func unavailable(reason, message string) *fleet.Error {
	return fleet.Errorf(fleet.CodeUnavailable, reason, "%s", message)
}
