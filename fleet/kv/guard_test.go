package kv

import (
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	created := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	k := knowledge{created: created, position: 100, subjects: 10, changed: 90, synced: true}
	l := look{created: created, floor: 100, last: 100, subjects: 12}
	with := func(f func(*knowledge, *look)) (knowledge, look) {
		k, l := k, l
		f(&k, &l)
		return k, l
	}
	cases := map[string]struct {
		change func(*knowledge, *look)
		want   verdict
	}{
		"as expected":                        {func(*knowledge, *look) {}, sound},
		"none to spare":                      {func(_ *knowledge, l *look) { l.subjects = 10 }, sound},
		"a subject is gone":                  {func(_ *knowledge, l *look) { l.subjects = 9 }, suspect},
		"another stream":                     {func(_ *knowledge, l *look) { l.created = created.Add(1) }, broken},
		"another stream, further on":         {func(_ *knowledge, l *look) { l.created, l.last = created.Add(1), 500 }, broken},
		"went back":                          {func(_ *knowledge, l *look) { l.last = 99 }, suspect},
		"went back during the replay":        {func(k *knowledge, l *look) { k.synced, l.last = false, 99 }, suspect},
		"messages to come":                   {func(_ *knowledge, l *look) { l.last, l.subjects = 101, 0 }, behind},
		"the view went on, no new key":       {func(k *knowledge, l *look) { k.position, l.subjects = 150, 9 }, suspect},
		"the view went on, perhaps new keys": {func(k *knowledge, l *look) { k.position, k.changed, l.subjects = 101, 101, 9 }, sound},
		"the view went on, too many gone":    {func(k *knowledge, l *look) { k.position, k.changed, l.subjects = 101, 101, 8 }, suspect},
		"counts mean nothing in the replay":  {func(k *knowledge, l *look) { k.synced, l.subjects = false, 0 }, sound},
		"purged":                             {func(_ *knowledge, l *look) { l.subjects = 0 }, suspect},
	}
	for name, c := range cases {
		k, l := with(c.change)
		if got, what := judge(k, l); got != c.want || (what == "") != (got == sound || got == behind) {
			t.Errorf("%s: verdict %d %q, want %d", name, got, what, c.want)
		}
	}
}

func TestComplete(t *testing.T) {
	cases := map[string]struct {
		k    knowledge
		l    look
		want bool
	}{
		"empty stream":                          {knowledge{}, look{last: 41, existing: 0}, true},
		"all that exists was delivered before":  {knowledge{position: 40, found: 3}, look{applied: 40, last: 41, existing: 40, subjects: 4}, true},
		"the last is still to come":             {knowledge{position: 40, found: 3}, look{applied: 40, last: 41, existing: 41, subjects: 4}, false},
		"arrived, but a key was replaced since": {knowledge{position: 41, found: 3}, look{applied: 40, last: 41, existing: 41, subjects: 4}, false},
		"arrived with every key":                {knowledge{position: 41, found: 4}, look{applied: 40, last: 41, existing: 41, subjects: 4}, true},
		"every key, but not arrived":            {knowledge{position: 40, found: 4}, look{applied: 39, last: 41, existing: 41, subjects: 4}, false},
	}
	for name, c := range cases {
		if got := complete(c.k, c.l); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
