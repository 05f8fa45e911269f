package dashboard

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// plain is a client that follows nothing and keeps no connection.
var plain = &http.Client{
	Timeout:       20 * time.Second,
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// send sends a request, and returns the answer with a body that was read whole.
func send(req *http.Request) (*http.Response, error) {
	r, err := plain.Do(req)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	return r, err
}

// bodyOf is what was answered.
func bodyOf(r *http.Response) string {
	body, _ := io.ReadAll(r.Body) // it is in memory
	return string(body)
}
