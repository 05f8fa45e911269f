package invariant

import "testing"

// Of what the mirror only says that it is there, nothing follows for what a pair is to have.
func TestPlaceOf_AnInvalidEntryKeeps(t *testing.T) {
	targets := newTargets()
	read := func(deployment, device string) place {
		var p, d state
		targets.mirroredDeployment(deployment, &p)
		mirroredDevice(device, &d)
		return placeOf(p.is, d.is)
	}
	const web, pi = `{"uid":"u","score":{"type":"x"}}`, `{"uid":"u"}`
	for _, tt := range []struct {
		name, deployment, device string
		want                     place
	}{
		{"both are shown", web, pi, inside},
		{"Deployment", `{"uid":"u","score":{"type":"x"},"invalid":"no finalizer yet"}`, pi, kept},
		{"Device", web, `{"uid":"u","invalid":"no finalizer yet"}`, kept},
	} {
		if got := read(tt.deployment, tt.device); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
