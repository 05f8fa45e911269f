package acting

import (
	"context"
	"slices"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
	"harmony.dev/services/patcher/kube"
	"harmony.dev/services/patcher/status"
)

// Config says what to act on, and when.
type Config struct {
	Holding func() bool       // this replica holds the lease
	Ready   func() bool       // it has read the apiserver since it took the lease, and the watch goes on
	Epochs  map[string]*Epoch // by sender: fleet.ServiceReconciler, fleet.ServiceAggregator
	Stores  map[kube.Kind]*kube.Store
	Writer  *kube.Writer
	Events  *kube.Recorder
	Herald  Herald // nil means that nobody tells of transitions
	Metrics *Metrics
	Now     func() time.Time // nil means time.Now
}

// Herald is told of every status of a Deployment that was written. It must not block.
type Herald interface {
	Note(name, uid string, from, to status.Stage)
}

// Handler handles the acting endpoints of the patcher.
type Handler struct {
	cfg    Config
	ledger *ledger
	turns  *stripes
}

// NewHandler returns a handler.
func NewHandler(cfg Config) *Handler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	h := &Handler{cfg: cfg, turns: newStripes()}
	h.ledger = newLedger(h.uids)
	return h
}

// uids returns those of the Deployments that there are.
func (h *Handler) uids() map[string]bool {
	store := h.cfg.Stores[kube.Deployments]
	uids := map[string]bool{}
	for _, name := range store.Names() {
		if resource := store.Get(name); resource != nil {
			uids[string(resource.GetUID())] = true
		}
	}
	return uids
}

// Register puts the endpoints on a server.
func (h *Handler) Register(s *rpc.Server) error {
	m := h.cfg.Metrics
	if err := rpc.Handle(s, fleet.StatusApply, counted(m, fleet.StatusApply, result, h.ApplyStatus)); err != nil {
		return err
	}
	if err := rpc.Handle(s, fleet.DeviceApply, counted(m, fleet.DeviceApply, result, h.ApplyDevice)); err != nil {
		return err
	}
	if err := rpc.Handle(s, fleet.FinalizerRelease, counted(m, fleet.FinalizerRelease, result, h.ReleaseFinalizer)); err != nil {
		return err
	}
	return rpc.Handle(s, fleet.EventRecord, counted(m, fleet.EventRecord, recorded, h.RecordEvent))
}

// admit lets a request pass that this replica has to answer and that comes from one of the services.
func (h *Handler) admit(from fleet.Sender, services ...string) error {
	switch {
	case !h.cfg.Holding():
		return rpc.ErrSilent
	case !slices.Contains(services, from.Service):
		return fleet.Errorf(fleet.CodeInvalid, "WrongSender", "%s may not ask for this", from.Service)
	case !h.cfg.Ready():
		return fleet.Errorf(fleet.CodeUnavailable, "NotReady", "the patcher has not read the apiserver since it took the lease, or has lost it: see its health")
	}
	return nil
}

// turn waits until no other request about the resource is handled, and returns what ends the turn.
func (h *Handler) turn(k kube.Kind, name string) (end func()) {
	return h.turns.lock(k.Resource + "." + name)
}

// verify checks the sender's epoch. It is called in the turn of the resource.
func (h *Handler) verify(ctx context.Context, from fleet.Sender) error {
	epoch := h.cfg.Epochs[from.Service]
	if epoch == nil {
		return fleet.Errorf(fleet.CodeInvalid, "WrongSender", "%s has no epoch", from.Service)
	}
	return epoch.verify(ctx, from.Epoch)
}

func answer(result string) fleet.ApplyResponse { return fleet.ApplyResponse{Result: result} }

func conflict(reason, format string, args ...any) error {
	return fleet.Errorf(fleet.CodeConflict, reason, format, args...)
}
