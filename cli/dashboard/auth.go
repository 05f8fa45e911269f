package dashboard

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	sessionTime  = 8 * time.Hour
	maxSessions  = 64
	loginsBurst  = 5
	loginsPerSec = 0.5
	maxGuessers  = 1000
)

// sessions are the browsers that have logged in.
type sessions struct {
	token [sha256.Size]byte

	mu     sync.Mutex
	limits map[string]*rate.Limiter // of logins, by address
	ends   map[string]time.Time
}

func newSessions(token string) *sessions {
	return &sessions{token: sha256.Sum256([]byte(token)), limits: map[string]*rate.Limiter{}, ends: map[string]time.Time{}}
}

// outcome of a login.
type loginOutcome int

const (
	loggedIn loginOutcome = iota
	wrongToken
	tooMany
)

// login returns a new session if the token is right. The time that it takes tells nothing of the token.
func (s *sessions) login(from, token string, now time.Time) (id string, o loginOutcome) {
	if !s.limit(from).AllowN(now, 1) {
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

// limit returns the limit of an address, so that who guesses keeps nobody else from logging in.
func (s *sessions) limit(from string) *rate.Limiter {
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.limits[from]
	if l == nil {
		if len(s.limits) >= maxGuessers {
			clear(s.limits)
		}
		l = rate.NewLimiter(loginsPerSec, loginsBurst)
		s.limits[from] = l
	}
	return l
}

// known reports whether a request comes from a browser that has logged in.
func (s *sessions) known(r *http.Request, now time.Time) bool {
	if s == nil {
		return false
	}
	c, err := r.Cookie(cookieName(r))
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.ends[c.Value]
	return ok && now.Before(end)
}

func (s *sessions) logout(r *http.Request) {
	if c, err := r.Cookie(cookieName(r)); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.ends, c.Value)
	}
}

// cookieName has the port in it: cookies are shared by all ports of a host.
func cookieName(r *http.Request) string {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		return "fleet_dashboard_" + strconv.Itoa(a.Port)
	}
	return "fleet_dashboard"
}

// sessionCookie carries a session; an empty id ends it. Behind a proxy that speaks TLS the proxy says so.
func sessionCookie(id string, r *http.Request) *http.Cookie {
	secure := r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
	c := &http.Cookie{
		Name: cookieName(r), Value: id, Path: "/", MaxAge: int(sessionTime.Seconds()),
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
