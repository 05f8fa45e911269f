package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
)

// Exit codes, for every command.
const (
	exitDone  = 0 // it worked, and all is well where the command asks whether it is
	exitNo    = 1 // it did not work, was stopped, or not all is well
	exitUsage = 2 // the command line is wrong; nothing was done

	exitChange = 3 // something would change, for those who asked for it: --exit-code
)

// exitText explains them in the help.
const exitText = `Data goes to standard output, all else to standard error. Exit codes: 0 done; 1 it did not work, was stopped before it was
done, or (status, doctor) not all is well; 2 the command line is wrong, and nothing was done; 3 (plan --exit-code) something
would change.`

// usageError is a wrong command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// errQuiet ends with exitNo after all has been said.
var errQuiet = errors.New("not all is well")

// exitCode says on stderr what is wrong, and returns the exit code of it.
func exitCode(err error, stderr io.Writer) int {
	var usage usageError
	var noTopic cli.ExitCoder // help was asked for a command that is not there
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errQuiet):
		return exitNo
	case errors.Is(err, errWouldChange):
		return exitChange
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "fleet: %s\n", readable(err))
		return exitUsage
	case errors.As(err, &noTopic):
		fmt.Fprintf(stderr, "fleet: %s: 'fleet --help' lists the commands\n", readable(err))
		return exitUsage
	}
	fmt.Fprintf(stderr, "fleet: %s\n", readable(err))
	return exitNo
}
