package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// noise is what a page said that no page should say.
type noise struct {
	mu       sync.Mutex
	heard    []string
	forgiven []*regexp.Regexp
	dialogs  sync.WaitGroup // that are being closed
}

// hear is called with every event of the page, by the goroutine that reads them.
func (n *noise) hear(ctx context.Context, event any) {
	text := describe(event)
	if text == "" {
		return
	}
	n.mu.Lock()
	n.heard = append(n.heard, text)
	n.mu.Unlock()
	if _, ok := event.(*page.EventJavascriptDialogOpening); ok {
		n.dialogs.Go(func() { // it stands in the way of everything else
			_, _ = chromedp.Call(ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{})
		})
	}
}

func (n *noise) wait() { n.dialogs.Wait() }

// describe says what was heard; "" is nothing. What the browser finds merely worth a hint is not.
func describe(event any) string {
	switch e := event.(type) {
	case *page.EventJavascriptDialogOpening:
		return fmt.Sprintf("dialog: %s", e.Message)
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if o := e.ExceptionDetails.Exception; o != nil {
			text += " " + o.Description
		}
		return fmt.Sprintf("exception: %s (%s)", text, e.ExceptionDetails.URL)
	case *runtime.EventConsoleAPICalled:
		var args []string
		for _, a := range e.Args {
			args = append(args, strings.TrimSpace(string(a.Value)+a.Description))
		}
		return fmt.Sprintf("console.%s: %s", e.Type, strings.Join(args, " "))
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelVerbose {
			return ""
		}
		return fmt.Sprintf("%s %s: %s (%s)", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
	}
	return ""
}

// Forgive lets what matches a regular expression be said: what the browser says of a server that a test kills.
func (p *Page) Forgive(pattern string) {
	p.noise.mu.Lock()
	defer p.noise.mu.Unlock()
	p.noise.forgiven = append(p.noise.forgiven, regexp.MustCompile(pattern))
}

// Noise is what was said so far and was not forgiven, with the violations of its security policy that the page saw itself.
func (p *Page) Noise() []string {
	var violations []string
	if raw, err := ask(p, `globalThis.__probe?.violations ?? []`); err == nil { // before the lock, which what comes before the answer waits for
		_ = json.Unmarshal(raw, &violations)
	}
	p.noise.mu.Lock()
	defer p.noise.mu.Unlock()
	heard := slices.Concat(p.noise.heard, violations)
	return slices.DeleteFunc(heard, func(text string) bool {
		return slices.ContainsFunc(p.noise.forgiven, func(r *regexp.Regexp) bool { return r.MatchString(text) })
	})
}

// CheckNoise fails the test for what was said so far, and forgets it.
func (p *Page) CheckNoise() {
	p.t.Helper()
	for _, text := range p.Noise() {
		p.t.Errorf("the page was not quiet: %s", text)
	}
	p.noise.mu.Lock()
	defer p.noise.mu.Unlock()
	p.noise.heard = nil
}
