package kube

import "net/http"

// impatient hides from client-go when to come again. Told so, it waits and asks up to ten times by itself,
// and says nothing of it: neither that the apiserver is busy nor that it fails would be noticed for that
// long. Whoever asks here spaces its own attempts.
type impatient struct{ http.RoundTripper }

// RoundTrip passes a request on.
func (t impatient) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err == nil && (resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError) {
		resp.Header.Del("Retry-After")
	}
	return resp, err
}
