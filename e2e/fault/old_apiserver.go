package fault

import "harmony.dev/e2e/lab"

// OldAPIServer gives the stack's own Kubernetes API the store of a backup: what was written since is lost,
// and resource versions go back. Healed, it has the store again that it had before.
type OldAPIServer struct {
	Backup string // of [kubetest.Own.Backup]

	now string
}

// BackUpAPIServer stops the Kubernetes API for as long as a backup of its store takes.
func BackUpAPIServer(s *lab.Stack) *OldAPIServer {
	s.Own.Kill()
	defer s.Own.Start()
	return &OldAPIServer{Backup: s.Own.Backup()}
}

// Name implements [Fault].
func (*OldAPIServer) Name() string { return "old-apiserver" }

// Target implements [Fault].
func (*OldAPIServer) Target() string { return "apiserver" }

// Needs implements [Fault].
func (*OldAPIServer) Needs() []lab.Ability { return []lab.Ability{lab.OwnAPI} }

// Inject implements [Fault].
func (o *OldAPIServer) Inject(s *lab.Stack) {
	s.Own.Kill()
	o.now = s.Own.Backup()
	s.Own.Restore(o.Backup)
	s.Own.Start()
}

// Heal implements [Fault].
func (o *OldAPIServer) Heal(s *lab.Stack) {
	s.Own.Kill()
	s.Own.Restore(o.now)
	s.Own.Start()
}
