package child

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
)

// maxLine is the size of the longest line, in bytes. A longer one is passed on in pieces.
const maxLine = 1 << 20

// lineWriter calls f with each line that is written to it.
type lineWriter struct {
	f   func(string)
	buf []byte
}

// Write takes everything.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	for {
		line, rest, ok := bytes.Cut(w.buf, []byte("\n"))
		if !ok {
			break
		}
		w.f(strings.TrimSuffix(string(line), "\r"))
		w.buf = rest
	}
	if len(w.buf) > maxLine {
		w.flush()
	}
	return len(p), nil
}

// flush passes on what has no line end yet.
func (w *lineWriter) flush() {
	if len(w.buf) > 0 && w.f != nil {
		w.f(string(w.buf))
	}
	w.buf = nil
}

// sharedWriter lets two outputs write to what may be one writer.
type sharedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

// Write writes alone.
func (s sharedWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

func share(mu *sync.Mutex, w io.Writer) io.Writer {
	switch w := w.(type) {
	case nil:
		return nil
	case *os.File:
		return w
	default:
		return sharedWriter{mu, w}
	}
}
