// Command fleet is the command line of Harmony Fleet: it runs the development stack, and shows what
// the operator knows and how it is.
//
// Data goes to standard output, all else to standard error. Exit codes: 0 done, 1 it did not work (for
// "status": not all services are ready; for "doctor": something was found), 2 the command line is wrong.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
