package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Footprint says what the stack takes: the most memory that each process has had, and the files of the NATS servers.
func (s *Stack) Footprint() string {
	s.t.Helper()
	var parts []string
	for _, i := range s.Instances("") {
		parts = append(parts, fmt.Sprintf("%s %d MB", i.ID(), s.peak(i.Pid())>>20))
	}
	for _, n := range s.NATS.nodes {
		parts = append(parts, fmt.Sprintf("%s %d MB and %d MB of files", n.name, s.peak(n.proc.Pid())>>20, s.size(n.files)>>20))
	}
	return strings.Join(parts, ", ")
}

// peak is the most memory that a process has had, in bytes: VmHWM of proc_pid_status(5).
func (s *Stack) peak(pid int) int64 {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "VmHWM:" {
			continue
		}
		kib, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		return kib << 10
	}
	s.t.Fatalf("process %d has no VmHWM", pid)
	return 0
}

// size is that of all files below a folder, in bytes.
func (s *Stack) size(dir string) (n int64) {
	s.t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server has removed it meanwhile
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}
