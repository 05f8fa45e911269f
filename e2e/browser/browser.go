package browser

import (
	"context"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// shared is the browser of this test binary. It is the one thing in here that lasts longer than a test.
var shared struct {
	once sync.Once
	ctx  context.Context //nolint:containedctx // chromedp names a browser by its context
	stop context.CancelFunc
	err  error
}

// endLimit is how long the browser may take to end by itself before it is killed.
const endLimit = 5 * time.Second

// start returns the browser; the first call starts it.
func start(t testing.TB) context.Context {
	t.Helper()
	shared.once.Do(func() { shared.ctx, shared.stop, shared.err = launch() })
	if shared.err != nil {
		t.Fatalf("start Chromium ('scripts/browser' brings it): %v", shared.err)
	}
	return shared.ctx
}

// launch starts a Chromium whose files go with it.
func launch() (context.Context, context.CancelFunc, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // it opens nothing but the product's own pages, and a container may allow no sandbox
		chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"),
	)
	allocated, release := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocated)
	stop := func() {
		limited, done := context.WithTimeout(ctx, endLimit)
		defer done()
		_ = chromedp.Cancel(limited) // what does not end so is killed below
		cancel()
		release()
	}
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, nil, fmt.Errorf("run %s: %w", path, err)
	}
	return ctx, stop, nil
}

// End ends the browser, if one was started, and waits until it has ended.
func End() error {
	if shared.stop != nil {
		shared.stop()
	}
	return nil
}
