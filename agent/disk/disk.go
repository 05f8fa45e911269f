// Package disk keeps the state of devices in files, one per device: <dir>/<device>.json. A file is
// replaced as a whole or not at all. One that is not usable is set aside as <device>.json.bad, for
// people to look at, and counts as none.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"harmony.dev/agent"
	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

// maxBusy is how many files are read or written at a time: each takes a thread while it waits.
const maxBusy = 8

// Store is a directory of states. It implements [agent.Store].
type Store struct {
	dir  string
	sync bool
	busy chan struct{}
}

// Open returns the store in dir, which is created when it is missing. With sync a state has reached the
// disk when Save returns; without it a power cut may take the last ones, or leave one that is not usable.
func Open(dir string, sync bool) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	return &Store{dir: dir, sync: sync, busy: make(chan struct{}, maxBusy)}, nil
}

func (s *Store) path(d fleet.DeviceID) string { return filepath.Join(s.dir, string(d)+".json") }

// enter waits until there is room, and returns what gives it back.
func (s *Store) enter() func() {
	s.busy <- struct{}{}
	return func() { <-s.busy }
}

// Load implements [agent.Store].
func (s *Store) Load(d fleet.DeviceID) (protocol.State, error) {
	defer s.enter()()
	path := s.path(d)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return protocol.State{}, nil
	}
	if err != nil {
		return protocol.State{}, fmt.Errorf("read state of %s: %w", d, err)
	}
	state, err := protocol.DecodeState(d, b)
	if err != nil {
		return protocol.State{}, errors.Join(fmt.Errorf("read %s, set aside: %w", path, err), os.Rename(path, path+".bad"))
	}
	return state, nil
}

// Save implements [agent.Store].
func (s *Store) Save(state protocol.State) error {
	b, err := protocol.EncodeState(state)
	if err != nil {
		return err
	}
	defer s.enter()()
	path := s.path(state.Device)
	if err := s.replace(path, b); err != nil {
		return fmt.Errorf("store state of %s: %w", state.Device, err)
	}
	return nil
}

func (s *Store) replace(path string, b []byte) error {
	tmp := path + ".tmp"
	if err := s.write(tmp, b); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	if !s.sync {
		return nil
	}
	// The new name is on the disk when its directory is.
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (s *Store) write(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && s.sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

var _ agent.Store = (*Store)(nil)
