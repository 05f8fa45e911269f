// Package explain proves that "fleet explain" and "fleet plan" are right, on a fleet in which each situation is made for
// real: the verdict as programs read it, and that a person reads why, and what to do next.
package explain
