package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
	"go.uber.org/goleak"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// asService makes the test binary the tiny service below: a real process for the tests of Main.
const asService = "SERVICE_TEST_AS_SERVICE"

func TestMain(m *testing.M) {
	if os.Getenv(asService) != "" {
		os.Exit(Main(context.Background(), os.Args, os.Getenv, os.Stdout, os.Stderr, tiny))
	}
	goleak.VerifyTestMain(m)
}

// tiny is a service with one source, one goroutine that takes a while to hand back what it holds, one
// slow endpoint, and a way to misbehave.
var tiny = Spec{
	Name: fleet.ServicePatcher, Usage: "a service for tests",
	Flags: []cli.Flag{&cli.StringFlag{Name: "behave", Usage: "panic, return, hang, handler-panic or setup-error"}},
	Setup: func(_ context.Context, c *cli.Context, rt *Runtime) error {
		var synced atomic.Bool // for good, once the connection was up
		rt.Health.Source("kind", true, func() fleet.Source {
			if rt.Data.IsConnected() {
				synced.Store(true)
			}
			return fleet.Source{Synced: synced.Load(), Entries: 7}
		})
		rt.Health.Lease(func() *fleet.LeaseHealth { return &fleet.LeaseHealth{Bucket: "b", Held: true, Epoch: 9} })
		s, err := rt.Server("a service for tests")
		if err != nil {
			return err
		}
		if err := rpc.Handle(s, slow, tinySlow(c.String("behave"))); err != nil {
			return err
		}
		rt.Go("holder", func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(500 * time.Millisecond) // the work of handing back
			rt.Log.Info("handed back", "connected", rt.Data.IsConnected() && rt.Control.IsConnected())
			return nil
		})
		misbehave(c.String("behave"), rt)
		if c.String("behave") == "setup-error" {
			return errors.New("no wiring")
		}
		return nil
	},
}

var slow = fleet.Endpoint{Service: fleet.ServicePatcher, Name: "slow", Subject: "test.slow", Role: fleet.RoleQuery}

func tinySlow(behave string) func(context.Context, struct{}) (string, error) {
	return func(context.Context, struct{}) (string, error) {
		if behave == "handler-panic" {
			panic("handler boom")
		}
		fmt.Println("slow started")
		time.Sleep(300 * time.Millisecond) // the work of the handler
		return "done", nil
	}
}

func misbehave(how string, rt *Runtime) {
	hang := func(context.Context) error { select {} }
	soon := func(f func() error) func(context.Context) error {
		return func(context.Context) error {
			time.Sleep(500 * time.Millisecond) // so that the tests see it ready first
			fmt.Println("now")
			return f()
		}
	}
	switch how {
	case "hang":
		rt.Go("stuck", hang)
	case "panic":
		rt.Go("stuck", hang)
		rt.Go("bad", soon(func() error { panic("boom") }))
	case "return":
		rt.Go("bad", soon(func() error { return nil }))
	}
}
