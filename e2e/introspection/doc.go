// Package introspection runs docs/introspection.md: every command that it shows, with the public nats and kubectl on a
// stack of real processes, and compares what they print with what it shows.
//
// The document is written for people. In it each fenced block is a console session:
//
//	```console
//	$ nats kv ls desired-state
//	dev-0001.web-north
//	…
//	```
//
// "…" stands for any text, also for none and for lines. Where a line is broken, how wide a gap is and how long a line is
// drawn do not count; every other character does. A command has to end with exit code 0, unless what it prints ends
// with "^C": then it is interrupted, as a person would, once it has printed what is shown. The block after that one runs
// in another shell beside it when it is marked as "console beside". What is marked as "console accounts" is run by
// e2e/accounts, which has the server for it.
package introspection
