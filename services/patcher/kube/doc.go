// Package kube is the patcher's edge to the Kubernetes API: it alone talks to the apiserver.
//
// Reading. One [Informer] per kind keeps a [Store]. A pass of an informer is a quorum list followed by
// a watch from there; any failed attempt ends it, and the next begins with a list again, so that a
// restored or restarted apiserver is never watched from a version it does not know. Attempts are spaced
// by a backoff of at most two seconds, whatever the apiserver asks for.
//
// Writing. Every write goes through the [Writer]: one rate limit, one histogram, one memory of what is not
// allowed. What a write returned
// counts as known from then on: the [Store] answers with it until the watch has got that far, so that
// nothing is judged against a state older than one's own last write.
//
// Resource versions are compared as numbers for that, and for one purpose more: a list whose version is
// smaller than one known before, of the same kind, says that the apiserver was restored from a backup.
// Versions that are no numbers say neither.
package kube
