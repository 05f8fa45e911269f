package dashboard

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"harmony.dev/cli/picture"
	"harmony.dev/fleet"
)

//go:embed static
var staticFiles embed.FS

// Server serves the pages. Create it with [New].
type Server struct {
	cfg      Config
	watcher  *watcher
	cache    *cache
	sessions *sessions // nil when it is read only
	streams  chan struct{}
}

// maxStreams is how many pages may be open with live updates.
const maxStreams = 100

// New returns a server.
func New(cfg Config) *Server {
	cfg.Every = cmp.Or(cfg.Every, defaultEvery)
	for i, host := range cfg.Hosts {
		cfg.Hosts[i] = strings.ToLower(host)
	}
	s := &Server{
		cfg: cfg, watcher: newWatcher(cfg.NATS, cfg.Every), cache: newCache(cfg.Every),
		streams: make(chan struct{}, maxStreams),
	}
	if cfg.Actions != nil {
		s.sessions = newSessions(cfg.Actions.Token)
	}
	return s
}

// Serve answers on a listener until ctx is done.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.watcher.run(ctx)
	}()
	web := &http.Server{
		Handler: s.Handler(), MaxHeaderBytes: 32 << 10,
		ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		WriteTimeout: 30 * time.Second,                                  // streams set their own
		BaseContext:  func(net.Listener) context.Context { return ctx }, // streams end with it
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		stopped <- web.Shutdown(ctx)
	}()
	err := web.Serve(l)
	cancel()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	err = errors.Join(err, <-stopped)
	<-watched
	return err
}

// Handler answers requests; something must run the watcher.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	static, _ := fs.Sub(staticFiles, "static") // the path is a constant
	for _, file := range []string{"/app.js", "/style.css"} {
		mux.Handle("GET /static"+file, http.StripPrefix("/static", cached(http.FileServerFS(static))))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /login", s.loginPage)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /logout", s.logout)
	mux.HandleFunc("POST /hold/approve", s.approve)
	mux.HandleFunc("POST /devices/{name}/forget", s.forget)
	mux.HandleFunc("GET /", s.showPage)
	return s.guard(http.NewCrossOriginProtection().Handler(mux))
}

// bodyWithin is how long the body of a request may take.
const bodyWithin = 10 * time.Second

// policy lets a page run and load only what is served here.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard refuses requests that name another host, and says what a browser may do with the answers.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !hostAllowed(r.Host, s.cfg.Hosts) {
			http.Error(w, "this dashboard does not go by that name: start it with --host NAME", http.StatusMisdirectedRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
		if r.Method == http.MethodPost {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyWithin)) // not every server can
		}
		next.ServeHTTP(w, r)
	})
}

// cached lets a browser keep the two files for as long as it is open; they change with the program only.
func cached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		next.ServeHTTP(w, r)
	})
}

// view gathers what a page shows. The error is a [fleet.Error].
func (s *Server) view(r *http.Request, path string, query url.Values) (*view, error) {
	p, name, ok := route(path)
	if !ok {
		return nil, fleet.Errorf(fleet.CodeNotFound, "NotFound", "there is no page %.80q", path)
	}
	v := s.frame(r)
	v.page, v.Path = p, path
	if q := query.Encode(); q != "" {
		v.Path += "?" + q
	}
	err := p.load(r.Context(), s, v, name, query)
	s.look(r, v) // again: a service may have fallen silent while the page's own questions waited for it
	return v, err
}

// look brings what every page shows of the fleet up to date.
func (s *Server) look(r *http.Request, v *view) {
	v.P, v.Now = s.watcher.look(r.Context()), time.Now()
	v.Banner = picture.Judge(v.P)
}

// frame returns what every page shows.
func (s *Server) frame(r *http.Request) *view {
	v := &view{}
	s.look(r, v)
	v.Acts = acts{Offered: s.sessions != nil, LoggedIn: s.sessions.known(r, v.Now)}
	v.Acts.Forget = v.Acts.LoggedIn && s.cfg.Actions.Forget != nil
	return v
}

func (s *Server) showPage(w http.ResponseWriter, r *http.Request) {
	v, err := s.view(r, r.URL.Path, r.URL.Query())
	if err != nil {
		s.showError(w, r, err)
		return
	}
	s.write(w, http.StatusOK, v)
}

// showError shows an error as a page of its own.
func (s *Server) showError(w http.ResponseWriter, r *http.Request, err error) {
	code := http.StatusServiceUnavailable
	if is := fleet.CodeOf(err); is == fleet.CodeNotFound || is == fleet.CodeInvalid || is == fleet.CodeConflict {
		code = int(is) // they mean the same in HTTP
	}
	s.showMessage(w, r, code, "It did not work", err.Error())
}

// showMessage shows a sentence.
func (s *Server) showMessage(w http.ResponseWriter, r *http.Request, code int, title, text string) {
	v := s.frame(r)
	v.page, v.Title, v.Body = page{name: "message", sections: []string{"message"}}, title, text
	s.write(w, code, v)
}

func (s *Server) write(w http.ResponseWriter, code int, v *view) {
	html, err := renderPage(v)
	if err != nil {
		s.cfg.Log.Error("render", "page", v.page.name, "err", err)
		http.Error(w, "the page could not be rendered", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(html) // the browser has left: nobody to tell
}
