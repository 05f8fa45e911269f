package service

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"harmony.dev/fleet/panics"
	"harmony.dev/fleet/rpc"
)

func testGroup(failing func(error)) *group {
	return newGroup(slog.New(slog.DiscardHandler), nil, func(time.Time) {}, failing)
}

func untilDone(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestGroup_EndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := testGroup(func(err error) { t.Errorf("failed: %v", err) })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.run(ctx) }()
		var handedBack atomic.Bool
		g.start("holder", func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(5 * time.Second) // fake time: it hands its lease back
			handedBack.Store(true)
			return errors.New("an error on the way out is logged and no failure")
		})
		g.start("other", untilDone)
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil || !handedBack.Load() {
			t.Fatalf("ended with %v, handed back %t", err, handedBack.Load())
		}
		g.start("late", func(context.Context) error { t.Error("started after the end"); return nil })
	})
}

func TestGroup_AFailureEndsTheOthers(t *testing.T) {
	for name, tc := range map[string]struct {
		run  func(context.Context) error
		want string
	}{
		"panic":         {func(context.Context) error { panic("boom") }, "goroutine bad: panic: boom"},
		"return":        {func(context.Context) error { return nil }, "goroutine bad ended"},
		"error":         {func(context.Context) error { return errors.New("lost") }, "goroutine bad ended: lost"},
		"handler panic": {func(context.Context) error { return &rpc.PanicError{Subject: "s", Value: "boom"} }, "handler of s: panic: boom"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told error
				g := testGroup(func(err error) { told = err })
				ended := make(chan error, 1)
				go func() { ended <- g.run(t.Context()) }()
				var toldFirst bool
				g.start("other", func(ctx context.Context) error {
					<-ctx.Done()
					toldFirst = told != nil
					return nil
				})
				g.start("bad", tc.run)
				err := <-ended
				if err == nil || !strings.Contains(err.Error(), tc.want) || !errors.Is(err, told) {
					t.Errorf("ended with %v, told %v", err, told)
				}
				if !toldFirst {
					t.Error("the others were told to end before readiness was taken back")
				}
			})
		})
	}
}

func TestGroup_DoesNotWaitForever(t *testing.T) {
	for name, tc := range map[string]struct {
		fail  bool
		limit time.Duration
	}{"after a failure": {true, failLimit}, "after a signal": {false, stopLimit}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := testGroup(func(error) {})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended, hang := make(chan error, 1), make(chan struct{})
				go func() { ended <- g.run(ctx) }()
				g.start("stuck", func(context.Context) error { <-hang; return nil })
				start := time.Now()
				if tc.fail {
					g.start("bad", func(context.Context) error { return nil })
				} else {
					cancel()
				}
				err := <-ended
				if err == nil || !strings.Contains(err.Error(), "stuck") || time.Since(start) != tc.limit {
					t.Errorf("after %s: %v", time.Since(start), err)
				}
				close(hang)
			})
		})
	}
}

func TestGroup_APanicWhileEndingIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := testGroup(func(error) {})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.run(ctx) }()
		g.start("bad", func(ctx context.Context) error { <-ctx.Done(); panic("boom") })
		cancel()
		if err := <-ended; err == nil {
			t.Fatal("no error")
		}
	})
}

func TestGroup_FaultPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaults()
		g := newGroup(slog.New(slog.DiscardHandler), f, func(time.Time) {}, func(error) {})
		ended := make(chan error, 1)
		go func() { ended <- g.run(t.Context()) }()
		g.start("loop", untilDone)
		g.start("other", untilDone)
		synctest.Wait()
		if got := strings.Join(f.members(), " "); got != "loop other" {
			t.Errorf("members: %s", got)
		}
		if f.tell("nobody") || !f.tell("loop") {
			t.Error("fault points that are there, or are not, were mistaken")
		}
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "goroutine loop: panic: fault point") {
			t.Fatal(err)
		}
		if got := f.members(); len(got) != 0 {
			t.Errorf("members after the end: %v", got)
		}
	})
}

// What a member has started ends the process as a member does when it panics, and only then: it may return when it likes.
func TestGroup_GuardsWhatMembersStart(t *testing.T) {
	for name, panicking := range map[string]bool{"panic": true, "return": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told error
				g := testGroup(func(err error) { told = err })
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- g.run(ctx) }()
				g.start("holder", func(ctx context.Context) error {
					err := panics.Guard(ctx, "lease", func(context.Context) error {
						if panicking {
							panic("boom")
						}
						return errors.New("lost")
					})
					if err == nil {
						t.Error("no error came back")
					}
					return untilDone(ctx)
				})
				synctest.Wait()
				if (told != nil) != panicking {
					t.Errorf("told %v", told)
				}
				cancel()
				if err := <-ended; (err != nil) != panicking || panicking && !strings.Contains(err.Error(), "goroutine lease: panic: boom") {
					t.Errorf("ended with %v", err)
				}
			})
		})
	}
}
