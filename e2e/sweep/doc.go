// Package sweep kills the operator at every point where it has just changed something.
//
// A story is a small life of a fleet: devices register, a Deployment comes, changes and goes, the devices
// go. In the reference run every effect is counted: an acknowledged write to KV, a write to the apiserver.
// Then the story is told once for each of them, and the process that made effect i is killed when the
// server has done it and the process does not know yet. Each time everything must come out as in the
// reference run: the bytes after every step, and how often each key was written. The same is done with
// deliveries that are lost or come late. The manner is that of Sieve (OSDI 2022).
package sweep
