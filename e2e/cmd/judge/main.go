// Judge runs the invariant checkers over a recording that a failed scenario left.
//
//	go run ./e2e/cmd/judge recording.jsonl
package main

import (
	"fmt"
	"os"

	"harmony.dev/e2e/invariant"
	"harmony.dev/e2e/record"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: judge RECORDING")
		os.Exit(2)
	}
	r, err := record.Load(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if len(r) == 0 {
		fmt.Fprintf(os.Stderr, "%s is no recording: it has no event\n", os.Args[1])
		os.Exit(2)
	}
	violations := invariant.Judge(r)
	fmt.Print(invariant.Text(violations, 100))
	fmt.Printf("%d events, %d violations\n", len(r), len(violations))
	if len(violations) > 0 {
		os.Exit(1)
	}
}
