package agent

import (
	"time"

	"harmony.dev/agent/protocol"
)

// session is one run of an agent. One goroutine owns it.
type session struct {
	cfg     Config
	box     *mailbox
	machine *protocol.Machine
	seat    Seat // nil before the agent has joined
	tasks   *tasks
	timer   *time.Timer
	unsaved bool
}

// drain takes in every event that has come.
func (s *session) drain() {
	for _, e := range s.box.take() {
		s.step(e)
	}
}

func (s *session) step(e protocol.Event) {
	switch e := e.(type) {
	case protocol.Applied:
		delete(s.tasks.cancel, e.Deployment)
	case protocol.Removed:
		delete(s.tasks.cancel, e.Deployment)
	}
	for _, a := range s.machine.Step(s.cfg.Now(), e) {
		s.perform(a)
	}
}

func (s *session) perform(a protocol.Action) {
	switch a := a.(type) {
	case protocol.Ask:
		s.seat.Ask(a)
	case protocol.Publish:
		s.seat.Publish(a)
	case protocol.Apply:
		s.tasks.apply(a)
	case protocol.Interrupt:
		s.tasks.interrupt(a.Deployment)
	case protocol.Remove:
		s.tasks.remove(a)
	case protocol.Save:
		s.unsaved = true
	case protocol.Note:
		s.note(a)
	}
}

// save stores the state when it has changed. What could not be stored is tried again with the next
// event, at the latest with the next heartbeat.
func (s *session) save() {
	if !s.unsaved || s.cfg.Store == nil {
		return
	}
	if err := s.cfg.Store.Save(s.machine.State()); err != nil {
		s.cfg.Log.Error("state was not stored", "err", err)
		return
	}
	s.unsaved = false
}

// arm sets the timer to the machine's next deadline.
func (s *session) arm() {
	at, ok := s.machine.Deadline()
	if !ok {
		s.timer.Stop()
		return
	}
	s.timer.Reset(max(at.Sub(s.cfg.Now()), time.Millisecond))
}

func (s *session) stop() {
	s.timer.Stop()
	s.tasks.wait()
	s.save()
}

func (s *session) note(n protocol.Note) {
	attrs := make([]any, 0, 4)
	if n.Deployment != "" {
		attrs = append(attrs, "deployment", n.Deployment)
	}
	if n.Err != "" {
		attrs = append(attrs, "err", n.Err)
	}
	switch n.Text {
	case protocol.NoteAskFailed, protocol.NoteIncomplete:
		s.cfg.Log.Debug(string(n.Text), attrs...) //nolint:sloglint // the texts are constants of package protocol
	default:
		s.cfg.Log.Warn(string(n.Text), attrs...) //nolint:sloglint // the texts are constants of package protocol
	}
}
