package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// errDeclined says that a person said no.
var errDeclined = errors.New("nothing was changed: it was not confirmed")

func yesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}
}

// person is who sits at the terminal, if anybody.
type person struct {
	in       io.Reader
	terminal bool
}

func personAt(in *os.File) person {
	return person{in: in, terminal: term.IsTerminal(int(in.Fd()))}
}

// confirm asks whether to go on. Without a terminal there is nobody to ask, and --yes is demanded.
func (p *program) confirm(c *cli.Context, question string) error {
	if c.Bool("yes") {
		return nil
	}
	if !p.person.terminal {
		return usagef("%s\nThere is no terminal to ask at: --yes says that it is wanted", question)
	}
	fmt.Fprintf(p.err, "%s\nGo on? [y/N] ", question)
	answer, err := readLine(c.Context, p.person.in)
	if err != nil {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errDeclined
}

// readLine reads one line, or until ctx ends: a read from a terminal cannot be interrupted.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	type line struct {
		text string
		err  error
	}
	got := make(chan line, 1)
	go func() {
		text, err := bufio.NewReader(in).ReadString('\n')
		got <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", errDeclined
	case l := <-got:
		if l.err != nil && !errors.Is(l.err, io.EOF) {
			return "", fmt.Errorf("read the answer: %w", l.err)
		}
		return l.text, nil
	}
}
