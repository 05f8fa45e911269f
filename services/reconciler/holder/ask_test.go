package holder

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"harmony.dev/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asking runs an asker in a bubble of its own, where time passes when nothing happens.
func asking(t *testing.T, f func(a *asker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = a.run(ctx)
		}()
		f(a)
		cancel()
		<-done
	})
}

func counting(key string, n *atomic.Int32, err error) ask {
	return ask{key: key, call: func(context.Context) error {
		n.Add(1)
		return err
	}}
}

func TestAsker_AsksAgainLessAndLessOften(t *testing.T) {
	for name, err := range map[string]error{"answered": nil, "refused": errors.New("no")} {
		t.Run(name, func(t *testing.T) {
			asking(t, func(a *asker) {
				var n atomic.Int32
				a.want([]ask{counting("x", &n, err)})
				time.Sleep(time.Second)
				early := n.Load()
				a.want([]ask{counting("x", &n, err)}) // wanted still: nothing new
				time.Sleep(10 * time.Minute)
				if late := n.Load() - early; early < 2 || early > 6 || late < 10 || late > 50 {
					t.Errorf("asked %d times in the first second and %d in ten minutes", early, late)
				}
				a.want(nil)
				synctest.Wait()
				before := n.Load()
				time.Sleep(10 * time.Minute)
				if n.Load() != before {
					t.Error("asked for what is not wanted any more")
				}
			})
		})
	}
}

func TestAsker_TellsOnceItIsAnswered(t *testing.T) {
	asking(t, func(a *asker) {
		var n atomic.Int32
		a.tell(ask{key: "event", call: func(context.Context) error {
			if n.Add(1) < 3 {
				return fleet.Errorf(fleet.CodeUnavailable, "NoResponders", "nobody")
			}
			return nil
		}})
		a.want(nil) // is about the others
		time.Sleep(10 * time.Minute)
		if n.Load() != 3 {
			t.Errorf("told %d times", n.Load())
		}
	})
}

func TestAsker_OneThatHangsDelaysNobody(t *testing.T) {
	asking(t, func(a *asker) {
		var n atomic.Int32
		stuck := ask{key: "stuck", call: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		a.want([]ask{stuck, counting("x", &n, nil)})
		time.Sleep(askTimeout / 2)
		if n.Load() == 0 {
			t.Error("the other was not asked")
		}
	})
}
