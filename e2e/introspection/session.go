package introspection

import (
	"fmt"
	"strings"
)

// Example is one command of a document, and what it prints.
type Example struct {
	Line      int      // of the command in the document
	Command   string   // as it is typed
	Shown     string   // what is shown of what it prints, without "^C"
	Interrupt bool     // it goes on until it is interrupted
	Accounts  bool     // it is for a server with the accounts of deploy/nats
	Beside    []string // commands of the next block, which run once the first lines that it shows have been printed
}

// The fences of sessions. What is not marked as one would not be run.
const (
	fence         = "```"
	fenceAlone    = "```console"
	fenceBeside   = "```console beside"
	fenceAccounts = "```console accounts"
	interrupt     = "^C"
)

// Parse returns the examples of a document, in its order. A block that is no session, or one without a command, is an error.
func Parse(doc string) ([]Example, error) {
	p := parser{}
	for i, line := range strings.Split(doc, "\n") {
		if err := p.line(i+1, line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	if p.open != "" {
		return nil, fmt.Errorf("the last block has no end")
	}
	return p.examples, nil
}

type parser struct {
	examples []Example
	open     string // the fence of the block that the line is in
	commands int    // in this block
}

func (p *parser) line(n int, line string) error {
	fenced := strings.HasPrefix(strings.TrimSpace(line), fence)
	switch {
	case p.open == "" && fenced:
		return p.begin(line)
	case fenced:
		return p.end(line)
	case p.open != "":
		return p.inside(n, line)
	}
	return nil
}

func (p *parser) begin(line string) error {
	if line != fenceAlone && line != fenceBeside && line != fenceAccounts {
		return fmt.Errorf("a block begins with %q: it would not be run", line)
	}
	if line == fenceBeside && (len(p.examples) == 0 || !p.last().Interrupt) {
		return fmt.Errorf("a block beside one that is not interrupted")
	}
	p.open, p.commands = line, 0
	return nil
}

func (p *parser) end(line string) error {
	if line != fence || p.commands == 0 {
		return fmt.Errorf("a block without a command, or that does not end with %q", fence)
	}
	p.open = ""
	return nil
}

func (p *parser) inside(n int, line string) error {
	command, isCommand := strings.CutPrefix(line, "$ ")
	switch {
	case isCommand && p.open == fenceBeside:
		p.last().Beside = append(p.last().Beside, command)
	case isCommand && p.commands > 0 && p.last().Interrupt:
		return fmt.Errorf("a command after %s in the same block", interrupt)
	case isCommand:
		p.examples = append(p.examples, Example{Line: n, Command: command, Accounts: p.open == fenceAccounts})
	case p.open == fenceBeside || p.commands == 0:
		return fmt.Errorf("output without a command, or of one that runs beside another: %q", line)
	case line == interrupt:
		p.last().Interrupt = true
	default:
		p.last().Shown += line + "\n"
	}
	if isCommand {
		p.commands++
	}
	return nil
}

func (p *parser) last() *Example { return &p.examples[len(p.examples)-1] }
