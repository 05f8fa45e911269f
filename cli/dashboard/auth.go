package dashboard

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	cookieName   = "fleet_dashboard"
	sessionTime  = 8 * time.Hour
	maxSessions  = 64
	loginsBurst  = 5
	loginsPerSec = 0.5
)

// sessions are the browsers that have logged in.
type sessions struct {
	token [sha256.Size]byte
	limit *rate.Limiter // of logins, of everybody

	mu   sync.Mutex
	ends map[string]time.Time
}

func newSessions(token string) *sessions {
	return &sessions{token: sha256.Sum256([]byte(token)), limit: rate.NewLimiter(loginsPerSec, loginsBurst), ends: map[string]time.Time{}}
}

// outcome of a login.
type loginOutcome int

const (
	loggedIn loginOutcome = iota
	wrongToken
	tooMany
)

// login returns a new session if the token is right. The time that it takes tells nothing of the token.
func (s *sessions) login(token string, now time.Time) (id string, o loginOutcome) {
	if !s.limit.AllowN(now, 1) {
		return "", tooMany
	}
	given := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(given[:], s.token[:]) != 1 {
		return "", wrongToken
	}
	id = rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	for old, end := range s.ends {
		if now.After(end) || len(s.ends) >= maxSessions {
			delete(s.ends, old)
		}
	}
	s.ends[id] = now.Add(sessionTime)
	return id, loggedIn
}

// known reports whether a request comes from a browser that has logged in.
func (s *sessions) known(r *http.Request, now time.Time) bool {
	if s == nil {
		return false
	}
	c, err := r.Cookie(cookieName)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.ends[c.Value]
	return ok && now.Before(end)
}

func (s *sessions) logout(r *http.Request) {
	if c, err := r.Cookie(cookieName); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.ends, c.Value)
	}
}

// sessionCookie carries a session; an empty id ends it.
func sessionCookie(id string, secure bool) *http.Cookie {
	c := &http.Cookie{
		Name: cookieName, Value: id, Path: "/", MaxAge: int(sessionTime.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: secure,
	}
	if id == "" {
		c.MaxAge = -1
	}
	return c
}

// hostAllowed reports whether a request names this server as it may be named: a browser that was led here under the
// name of another site (DNS rebinding) names that one.
func hostAllowed(host string, allowed []string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if ip := net.ParseIP(name); ip != nil {
		return true // an address cannot be made to lead elsewhere
	}
	return name == "localhost" || slices.Contains(allowed, name)
}
