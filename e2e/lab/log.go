package lab

import (
	"os"
	"sync"
)

// Log is the log of one process, over its restarts.
type Log struct {
	mu   sync.Mutex
	free chan struct{} // closed while writes pass
}

func newLog() *Log {
	l := &Log{free: make(chan struct{})}
	close(l.free)
	return l
}

// Block keeps what the process logs in its pipe, until Free: once that is full, whoever logs waits.
func (l *Log) Block() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.free:
		l.free = make(chan struct{})
	default: // already
	}
}

// Free lets everything pass again.
func (l *Log) Free() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.free:
	default:
		close(l.free)
	}
}

// logWriter is the log of one start of the process. It is no [os.File]: the process is given a pipe.
type logWriter struct {
	log  *Log
	file *os.File
}

// Write waits while the log is blocked.
func (w logWriter) Write(p []byte) (int, error) {
	w.log.mu.Lock()
	free := w.log.free
	w.log.mu.Unlock()
	<-free
	return w.file.Write(p)
}
