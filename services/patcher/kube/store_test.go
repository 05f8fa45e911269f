package kube

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
)

var base = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func state(name string, version int, mark string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": name, "uid": "u-" + name, "resourceVersion": fmt.Sprint(version)},
		"mark":     mark,
	}}
}

func mark(s *Store, name string) string {
	r := s.Get(name)
	if r == nil {
		return "none"
	}
	return r.Object["mark"].(string)
}

func TestStore_AnswersWithTheNewest(t *testing.T) {
	tests := []struct {
		name string
		do   func(s *Store)
		want string
	}{
		{"watched", func(s *Store) { s.put(state("a", 5, "watched")) }, "watched"},
		{"written after", func(s *Store) { s.put(state("a", 5, "watched")); s.Written(state("a", 7, "written"), base) }, "written"},
		{"the watch is behind the write", func(s *Store) { s.Written(state("a", 7, "written"), base); s.put(state("a", 6, "watched")) }, "written"},
		{"the watch is past the write", func(s *Store) { s.Written(state("a", 7, "written"), base); s.put(state("a", 8, "watched")) }, "watched"},
		{"the watch was faster", func(s *Store) { s.put(state("a", 8, "watched")); s.Written(state("a", 7, "written"), base) }, "watched"},
		{"another resource's event is past the write", func(s *Store) {
			s.put(state("a", 5, "watched"))
			s.Written(state("a", 7, "written"), base)
			s.put(state("b", 9, "other"))
		}, "watched"},
		{"a bookmark is past the write", func(s *Store) {
			s.put(state("a", 7, "watched"))
			s.Written(state("a", 7, "written"), base)
			s.advance("9")
		}, "watched"},
		{"gone", func(s *Store) { s.put(state("a", 5, "watched")); s.remove(state("a", 6, "")) }, "none"},
		{"gone before the write's answer came", func(s *Store) {
			s.put(state("a", 7, "watched"))
			s.remove(state("a", 8, ""))
			s.Written(state("a", 7, "written"), base)
		}, "none"},
		{"created by a write", func(s *Store) { s.Written(state("a", 7, "written"), base) }, "written"},
		{"a list that is older than the write", func(s *Store) {
			s.Written(state("a", 7, "written"), base)
			s.replace([]*unstructured.Unstructured{state("a", 5, "listed")}, "6", base.Add(-time.Second))
		}, "written"},
		{"a list begun after the write, versions went back", func(s *Store) {
			s.Written(state("a", 700, "written"), base)
			s.replace([]*unstructured.Unstructured{state("a", 5, "listed")}, "6", base.Add(time.Second))
		}, "listed"},
		{"a list without it", func(s *Store) {
			s.put(state("a", 5, "watched"))
			s.replace(nil, "6", base)
		}, "none"},
		{"a version that is no number", func(s *Store) {
			s.put(state("a", 5, "watched"))
			r := state("a", 9, "written")
			r.SetResourceVersion("x9")
			s.Written(r, base)
		}, "watched"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := NewStore(func(string) {})
			tt.do(s)
			if got := mark(s, "a"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// Whatever the order in which the answers of writes and the events of the watch arrive, the store never
// answers with a state older than the newest write, and ends with the apiserver's state.
func TestStore_NeverOlderThanTheLastWrite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		changed := map[string]bool{}
		s := NewStore(func(name string) { changed[name] = true })
		var history []*unstructured.Unstructured // the apiserver's, in order
		watched, newest := 0, 0
		for i := range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0: // an own write, its answer comes at once
				version := i + 10
				history = append(history, state("a", version, fmt.Sprint(version)))
				s.Written(history[len(history)-1], base)
				newest = version
			case 1: // somebody else's write
				version := i + 10
				history = append(history, state("a", version, fmt.Sprint(version)))
			case 2: // the watch brings the next event
				if watched < len(history) {
					s.put(history[watched])
					watched++
				}
			}
			if r := s.Get("a"); r != nil && int(versionOf(r.GetResourceVersion())) < newest {
				t.Fatalf("answers with %s after the write %d", r.GetResourceVersion(), newest)
			}
		}
		for ; watched < len(history); watched++ {
			s.put(history[watched])
		}
		if len(history) > 0 && s.Get("a") != history[len(history)-1] {
			t.Fatalf("ends with %v", s.Get("a"))
		}
		if len(s.written) != 0 || len(history) > 0 && !changed["a"] {
			t.Fatalf("kept %v, changed %v", s.written, changed)
		}
	})
}

func TestStore_NoticesThatVersionsWentBack(t *testing.T) {
	list := func(version string) func(*Store) bool {
		return func(s *Store) bool { return s.replace(nil, version, base) }
	}
	tests := []struct {
		name   string
		before func(s *Store)
		list   func(s *Store) bool
		want   bool
	}{
		{"the first list", func(*Store) {}, list("5"), false},
		{"nothing happened", func(s *Store) { s.replace(nil, "5", base) }, list("5"), false},
		{"older than a list", func(s *Store) { s.replace(nil, "5", base) }, list("4"), true},
		{"older than an event", func(s *Store) { s.replace(nil, "2", base); s.put(state("a", 5, "")) }, list("4"), true},
		{"older than a bookmark", func(s *Store) { s.replace(nil, "2", base); s.advance("5") }, list("4"), true},
		{"older than a write", func(s *Store) { s.Written(state("a", 5, ""), base.Add(-1)) }, list("4"), true},
		{"begun before a write", func(s *Store) { s.Written(state("a", 5, ""), base.Add(1)) }, list("4"), false},
		{"back for good", func(s *Store) { s.replace(nil, "5", base); s.replace(nil, "3", base) }, list("4"), false},
		{"no number", func(s *Store) { s.replace(nil, "5", base) }, list("x4"), false},
		{"no number before", func(s *Store) { s.replace(nil, "x5", base) }, list("4"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := NewStore(func(string) {})
			tt.before(s)
			if got := tt.list(s); got != tt.want {
				t.Errorf("went back: %t, want %t", got, tt.want)
			}
		})
	}
}

func TestStore_TellsWhatAListChanged(t *testing.T) {
	var changed []string
	s := NewStore(func(name string) { changed = append(changed, name) })
	s.replace([]*unstructured.Unstructured{state("same", 1, ""), state("gone", 2, ""), state("new", 3, "")}, "3", base)
	changed = nil
	s.replace([]*unstructured.Unstructured{state("same", 1, ""), state("added", 4, ""), state("new", 5, "")}, "5", base)
	slices.Sort(changed)
	if got := fmt.Sprint(changed); got != "[added gone new]" {
		t.Errorf("changed: %s", got)
	}
	if got := fmt.Sprint(s.Names()); got != "[added new same]" || s.Len() != 3 || s.Seen() != 5 {
		t.Errorf("names %s, length %d, seen %d", got, s.Len(), s.Seen())
	}
}
