package dashboard

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"harmony.dev/e2e/browser"
	"harmony.dev/e2e/lab"
)

// screenshots are those of the docs, and the tests that take them.
var screenshots = []string{
	"overview",       // TestPages
	"overview-10000", // TestMany, dark
	"overview-old",   // TestBanner, while the aggregator is dead
	"deployment",     // TestPages
	"device",         // TestPages
	"operator",       // TestPages, dark
	"hold",           // TestActions
	"phone",          // TestPages
}

// largestScreenshot is in bytes.
const largestScreenshot = 200_000

// shoot keeps a screenshot for the docs, when UPDATE_SCREENSHOTS is set: 'make screenshots' does that.
func shoot(t *testing.T, p *browser.Page, name string) {
	t.Helper()
	if os.Getenv("UPDATE_SCREENSHOTS") == "" {
		return
	}
	if err := os.WriteFile(screenshot(t, name), p.Screenshot(), 0o644); err != nil {
		t.Error(err)
	}
}

func screenshot(t *testing.T, name string) string {
	return filepath.Join(lab.Root(t), "docs", "screenshots", name+".png")
}

func TestScreenshots_AreThere(t *testing.T) {
	for _, name := range screenshots {
		b, err := os.ReadFile(screenshot(t, name))
		if err != nil {
			t.Errorf("%v: 'make screenshots' takes it", err)
			continue
		}
		if _, err := png.DecodeConfig(bytes.NewReader(b)); err != nil || len(b) > largestScreenshot {
			t.Errorf("%s has %d bytes, of %d at most: %v", name, len(b), largestScreenshot, err)
		}
	}
	files, err := filepath.Glob(screenshot(t, "*"))
	if err != nil || len(files) != len(screenshots) {
		t.Errorf("there are %d screenshots, %d are known: %v", len(files), len(screenshots), err)
	}
}
