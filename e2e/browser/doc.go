// Package browser gives tests a real browser: one headless Chromium for the test binary, and pages that watch what a test
// must not overlook.
//
// Each [Page] has cookies of its own, and fails its test when anything was said on its console, an exception was not
// caught, a dialog was opened, or its content security policy was broken, unless the test has forgiven it beforehand. What
// a test waits for is asked of the page again and again from outside, so that it works while the page has no script.
//
// The Chromium is Debian's, and the checker of [Page.Accessible] is axe-core in .tools: scripts/browser brings both. It
// resolves no name and ends with [End], which TestMain must call, or with the test binary. Nothing but this package knows
// chromedp.
package browser
