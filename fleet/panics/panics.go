// Package panics has a panic in any long-lived goroutine end the process as it is to end: not ready first, and
// never as if nothing had happened.
package panics

import "context"

// Guardian sees the panics of goroutines. It is safe for concurrent use.
type Guardian interface {
	// Guard runs f in the caller's goroutine, under a name for the log, and returns its error. A panic in f
	// comes back as an error, too; by then the end of the process has begun.
	Guard(ctx context.Context, name string, f func(context.Context) error) error
}

type key struct{}

// With returns a context for goroutines that g is to guard.
func With(ctx context.Context, g Guardian) context.Context { return context.WithValue(ctx, key{}, g) }

// Guard runs f, the whole of a goroutine that lives long, under the [Guardian] of ctx. Where there is none, as in
// tests, a panic goes on.
func Guard(ctx context.Context, name string, f func(context.Context) error) error {
	if g, ok := ctx.Value(key{}).(Guardian); ok {
		return g.Guard(ctx, name, f)
	}
	return f(ctx)
}
