package dashboard

import (
	"context"
	"errors"
	"net/http"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// actWithin is how long an action may take.
const actWithin = 15 * time.Second

func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) {
	if s.sessions == nil {
		s.readOnly(w, r)
		return
	}
	s.showLogin(w, r, http.StatusOK, "")
}

func (s *Server) showLogin(w http.ResponseWriter, r *http.Request, code int, complaint string) {
	v := s.frame(r)
	v.page, v.Title, v.Body = page{name: "login", sections: []string{"login"}}, "Log in", complaint
	s.write(w, code, v)
}

func (s *Server) readOnly(w http.ResponseWriter, r *http.Request) {
	s.showMessage(w, r, http.StatusForbidden, "Read only", "This dashboard only shows: it was started without --allow-actions.")
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	if s.sessions == nil {
		s.readOnly(w, r)
		return
	}
	id, outcome := s.sessions.login(r.RemoteAddr, r.PostFormValue("token"), time.Now())
	switch outcome {
	case loggedIn:
		s.cfg.Log.Info("logged in", "remote", r.RemoteAddr)
		http.SetCookie(w, sessionCookie(id, r))
		http.Redirect(w, r, "/", http.StatusSeeOther)
	case wrongToken:
		s.cfg.Log.Warn("wrong token", "remote", r.RemoteAddr)
		s.showLogin(w, r, http.StatusForbidden, "That is not the token. It is in the file that was named with --token-file.")
	case tooMany:
		s.showLogin(w, r, http.StatusTooManyRequests, "Too many attempts: wait some seconds.")
	}
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if s.sessions != nil {
		s.sessions.logout(r)
	}
	http.SetCookie(w, sessionCookie("", r))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// act runs an action for somebody who has logged in.
func (s *Server) act(w http.ResponseWriter, r *http.Request, what, object string, do func(context.Context) error) bool {
	if !s.sessions.known(r, time.Now()) {
		s.showMessage(w, r, http.StatusForbidden, "Not allowed", "Log in first: this changes the fleet.")
		return false
	}
	// It goes on when the browser leaves: nothing is to be left half done.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), actWithin)
	defer cancel()
	err := do(ctx)
	s.cfg.Log.Info("action", "action", what, "object", object, "remote", r.RemoteAddr, "err", err)
	switch {
	case err == nil:
		return true
	case refused(err):
		s.showError(w, r, err)
	default:
		s.showMessage(w, r, http.StatusServiceUnavailable, "It is not known whether it was done", err.Error()+". Look before you try again.")
	}
	return false
}

// refused reports whether an error says that nothing was done.
func refused(err error) bool {
	switch e, ok := errors.AsType[*fleet.Error](err); {
	case !ok:
		return false
	case e.Code == fleet.CodeInvalid, e.Code == fleet.CodeNotFound, e.Code == fleet.CodeConflict:
		return true
	default:
		return e.Reason == rpc.ReasonNoResponders || e.Reason == rpc.ReasonDisconnected || e.Reason == reasonNoKubernetes
	}
}

const reasonNoKubernetes = "NoKubernetes"

func (s *Server) approve(w http.ResponseWriter, r *http.Request) {
	id := r.PostFormValue("id")
	done := s.act(w, r, "approve", id, func(ctx context.Context) error {
		if err := (fleet.HoldApproveRequest{ID: id}).Validate(); err != nil {
			return fleet.Errorf(fleet.CodeInvalid, "Invalid", "%s", err)
		}
		return s.cfg.Actions.Approve(ctx, id)
	})
	if done {
		http.Redirect(w, r, "/hold", http.StatusSeeOther)
	}
}

func (s *Server) forget(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	done := s.act(w, r, "forget", name, func(ctx context.Context) error {
		if err := fleet.DeviceID(name).Validate(); err != nil {
			return fleet.Errorf(fleet.CodeInvalid, "Invalid", "%s", err)
		}
		if s.cfg.Actions.Forget == nil {
			return fleet.Errorf(fleet.CodeUnavailable, reasonNoKubernetes, "this dashboard has no way to Kubernetes: start it with --kubeconfig")
		}
		return s.cfg.Actions.Forget(ctx, name)
	})
	if done {
		s.showMessage(w, r, http.StatusOK, "Device "+name, "Its resource is being deleted. A device that lives registers again by itself.")
	}
}
