// Package status decides whether and how the status of a resource is written.
//
// A status request says what the status is to be; the resource says what it is. The difference is a
// JSON merge patch (RFC 7396) of the status subresource, and there is none when both say the same: a
// status that has not changed is never written. One thing the request does not say: when a condition
// last changed. That time is kept with the resource and set here, in the one process that writes it.
//
// The package is pure: time is an argument.
package status
