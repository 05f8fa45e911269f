package doctor

import (
	"fmt"
	"strings"
)

// Request is a message to the server that mends something.
type Request struct {
	Subject string
	Header  []string // "Name:value"
	Body    []byte   // nil, or JSON
}

// Shell makes commands for people to paste.
type Shell struct {
	NATS  []string // flags of the nats command by which it reaches the server: "--context", "prod"
	Fleet string   // the Kubernetes namespace of the fleet
}

// request returns the command that sends a request, "" when no command line can carry it.
func (s Shell) request(r Request) string {
	if strings.ContainsRune(r.Subject, 0) {
		return ""
	}
	words := append([]string{"nats"}, s.NATS...)
	words = append(words, "request")
	if strings.Contains(r.Subject, "{{") {
		words = append(words, "--no-templates")
	}
	for _, h := range r.Header {
		words = append(words, "-H", h)
	}
	return join(append(words, r.Subject, string(plain(r.Body))))
}

// patch returns the command that changes the spec of a Device.
func (s Shell) patch(device, spec string) string {
	return join([]string{"kubectl", "-n", s.namespace(), "patch", "fdev", device, "--type", "merge", "-p", spec})
}

func (s Shell) edit(kind, name string) string {
	return join([]string{"kubectl", "-n", s.namespace(), "edit", kind, name})
}

func (s Shell) namespace() string {
	if s.Fleet == "" {
		return "fleet"
	}
	return s.Fleet
}

func join(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " ")
}

// plain spells JSON with printable ASCII only, without what a shell or a template would take for its own.
// All that it replaces can only stand in strings, where an escape means the same.
func plain(doc []byte) []byte {
	var b strings.Builder
	text := strings.ReplaceAll(string(doc), "\x7f", `\u007f`)
	text = strings.ReplaceAll(text, "'", `\u0027`)
	text = strings.ReplaceAll(text, "{{", `{\u007b`) // in no JSON but in strings
	for _, r := range text {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return []byte(b.String())
}

// quote makes one word of a shell of any bytes but NUL. What is not printable ASCII is spelled with escapes
// (POSIX 2024; bash, zsh, ksh): on a terminal it could show as another command than it is.
func quote(word string) string {
	if word != "" && strings.Trim(word, safe) == "" {
		return word
	}
	if !strings.ContainsFunc(word, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for _, c := range []byte(word) {
		switch {
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03o`, c)
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteString("'")
	return b.String()
}

const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,@"
