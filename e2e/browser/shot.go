package browser

import (
	"context"

	"github.com/chromedp/chromedp"
)

// Screenshot is what is to be seen of the page, once everything has come to rest, as PNG.
func (p *Page) Screenshot() []byte {
	p.t.Helper()
	png, err := p.tryShot()
	if err != nil {
		p.t.Fatalf("take a screenshot: %v", err)
	}
	return png
}

func (p *Page) tryShot() ([]byte, error) {
	if _, err := ask(p, `Promise.all(document.getAnimations().map(a => a.finished)).then(() => null)`); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(p.ctx, askLimit)
	defer cancel()
	return chromedp.Run(ctx, chromedp.CaptureScreenshot())
}
