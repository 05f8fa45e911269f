// Package dashboard proves "fleet dashboard" in a real browser, on fleets that run: real processes, real faults.
package dashboard
