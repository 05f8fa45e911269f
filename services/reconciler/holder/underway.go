package holder

import (
	"sync/atomic"

	"harmony.dev/fleet"
	"harmony.dev/services/reconciler/plan"
)

// underWay is the devices whose keys are being written: of a write that was begun it is not known, before it
// is in view, whether the device has it already.
type underWay struct {
	devices atomic.Pointer[map[fleet.DeviceID]struct{}]
}

// set replaces the devices by those of a plan that is about to be written.
func (u *underWay) set(groups []plan.Group) {
	devices := map[fleet.DeviceID]struct{}{}
	for i := range groups {
		for _, a := range groups[i].Puts {
			devices[a.Pair.Device] = struct{}{}
		}
		for _, d := range groups[i].Deletes {
			devices[d.Pair.Device] = struct{}{}
		}
	}
	u.devices.Store(&devices)
}

// clear says that everything that was written is in view.
func (u *underWay) clear() { u.devices.Store(nil) }

func (u *underWay) has(device fleet.DeviceID) bool {
	devices := u.devices.Load()
	if devices == nil {
		return false
	}
	_, ok := (*devices)[device]
	return ok
}
