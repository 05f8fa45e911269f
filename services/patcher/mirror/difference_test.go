package mirror_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/mirror"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const (
	live     = `{"uid":"u1","generation":1,"targetSelector":{},"score":{"type":"sim"}}`
	newer    = `{"uid":"u1","generation":2,"targetSelector":{},"score":{"type":"sim"}}`
	going    = `{"uid":"u1","generation":1,"targetSelector":{},"score":{"type":"sim"},"deleting":true}`
	deleted  = `{"targetSelector":{},"score":{"type":""},"tombstone":{"uid":"u1","cause":"deleted","at":"2026-01-02T03:04:05Z"}}`
	vanished = `{"targetSelector":{},"score":{"type":""},"tombstone":{"uid":"u1","cause":"vanished","at":"2026-01-02T03:04:05Z"}}`
	standIn  = `{"uid":"u1","generation":1,"targetSelector":{},"score":{"type":""},"invalid":"it has no finalizer f yet"}`
	unknown  = `{"targetSelector":{},"score":{"type":""},"tombstone":{"uid":"","cause":"vanished","at":"2026-01-02T03:04:05Z"}}`
)

// message is one message of the bucket under the key deployment.web. Epoch 0 is somebody else's.
type message struct {
	value string // "" is a delete marker, "-" is the end of the key's life
	epoch uint64
}

func stored(t interface{ Fatalf(string, ...any) }, messages ...message) mirror.Stored {
	s := mirror.Stored{}
	for _, m := range messages {
		switch m.value {
		case "":
			if err := s.Mark("deployment.web"); err != nil {
				t.Fatalf("mark: %v", err)
			}
		case "-":
			s.Forget("deployment.web")
		default:
			_, _ = s.Put("deployment.web", []byte(m.value), m.epoch)
		}
	}
	return s
}

func TestDifference(t *testing.T) {
	value := &mirror.Want{Value: []byte(live)}
	missing := &mirror.Want{Missing: []string{"f"}, Placeholder: []byte(standIn)}
	tests := []struct {
		name   string
		want   *mirror.Want // nil: no resource
		stored []message
		write  string // "" means none
	}{
		{"new resource", value, nil, live},
		{"equal", value, []message{{live, 7}}, ""},
		{"changed", &mirror.Want{Value: []byte(newer)}, []message{{live, 7}}, newer},
		{"equal but foreign", value, []message{{live, 0}}, live},
		{"deleted by hand", value, []message{{live, 7}, {"", 0}}, live},
		{"over a tombstone", value, []message{{deleted, 7}}, live},
		{"life ended", value, []message{{live, 7}, {"-", 0}}, live},
		{"finalizer missing, nothing stored, no hurry", &mirror.Want{Missing: []string{"f"}}, nil, ""},
		{"finalizer missing, nothing stored", missing, nil, standIn},
		{"finalizer missing, deleted by hand", missing, []message{{live, 7}, {"", 0}}, standIn},
		{"finalizer missing, life ended", missing, []message{{deleted, 7}, {"-", 0}}, standIn},
		{"finalizer missing, entry foreign", missing, []message{{live, 0}}, standIn},
		{"finalizer missing, own entry unreadable", missing, []message{{"garbage", 7}}, standIn},
		{"finalizer missing, over a tombstone", missing, []message{{vanished, 7}}, standIn},
		{"finalizer missing, placeholder there", missing, []message{{standIn, 7}}, ""},
		{"finalizer missing, placeholder foreign", missing, []message{{standIn, 0}}, standIn},
		{"finalizer missing, placeholder of before", missing, []message{{strings.Replace(standIn, "n\":1", "n\":2", 1), 7}}, standIn},
		{"finalizer missing keeps the old value, placeholder or not", missing, []message{{live, 7}}, ""},
		{"refused, nothing stored", &mirror.Want{Refused: errors.New("too large"), Placeholder: []byte(standIn)}, nil, standIn},
		{"finalizer there, over a placeholder", value, []message{{standIn, 7}}, live},
		{"gone, placeholder there", nil, []message{{standIn, 7}}, vanished},
		{"finalizer missing keeps the old value", &mirror.Want{Missing: []string{"f"}}, []message{{live, 7}}, ""},
		{"refused keeps the old value", &mirror.Want{Refused: errors.New("too large")}, []message{{live, 7}}, ""},
		{"gone while deleting", nil, []message{{going, 7}}, deleted},
		{"gone without having been deleted", nil, []message{{live, 7}}, vanished},
		{"gone, entry foreign and saying deleting", nil, []message{{live, 7}, {going, 0}}, vanished},
		{"gone, tombstone foreign", nil, []message{{live, 7}, {deleted, 0}}, vanished},
		{"gone, entry deleted by hand", nil, []message{{going, 7}, {"", 0}}, vanished},
		{"gone, never an own entry", nil, []message{{"garbage", 0}}, unknown},
		{"gone, own entry unreadable", nil, []message{{"garbage", 7}}, unknown},
		{"gone, tombstone there", nil, []message{{deleted, 7}}, ""},
		{"gone, tombstone's life ended", nil, []message{{deleted, 7}, {"-", 0}}, ""},
		{"never was", nil, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wants := map[string]mirror.Want{}
			if tt.want != nil {
				wants["deployment.web"] = *tt.want
			}
			writes, err := mirror.Difference(wants, stored(t, tt.stored...), at)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, w := range writes {
				got += string(w.Value)
				if tombstone := strings.Contains(got, "tombstone"); (w.TTL == fleet.TombstoneTTL) != tombstone || !tombstone && w.TTL != 0 {
					t.Errorf("life of %s is %s", w.Value, w.TTL)
				}
			}
			if got != tt.write {
				t.Errorf("got  %s\nwant %s", got, tt.write)
			}
		})
	}
}

func TestStored_RefusesKeysThatAreNone(t *testing.T) {
	s := mirror.Stored{}
	for _, key := range []string{"deployment.a.b", "Device.x", "web", "deployment."} {
		if _, err := s.Put(key, []byte(live), 7); !errors.Is(err, fleet.ErrIllegalKey) {
			t.Errorf("put %s: got %v", key, err)
		}
		if err := s.Mark(key); !errors.Is(err, fleet.ErrIllegalKey) {
			t.Errorf("mark %s: got %v", key, err)
		}
	}
	if len(s) != 0 {
		t.Errorf("stored %v", s)
	}
}

// world is a fleet of resources and a mirror with any past.
type world struct {
	wants  map[string]mirror.Want
	stored mirror.Stored
}

func drawWorld(t *rapid.T) world {
	w := world{map[string]mirror.Want{}, mirror.Stored{}}
	for i := range rapid.IntRange(0, 6).Draw(t, "keys") {
		key := fmt.Sprintf("deployment.d%d", i)
		if i%2 == 1 {
			key = fmt.Sprintf("device.d%d", i)
		}
		switch rapid.IntRange(0, 4).Draw(t, "want") {
		case 0: // no resource
		case 1:
			w.wants[key] = mirror.Want{Missing: []string{"f"}, Placeholder: drawPlaceholder(t)}
		case 2:
			w.wants[key] = mirror.Want{Refused: errors.New("refused"), Placeholder: drawPlaceholder(t)}
		default:
			w.wants[key] = mirror.Want{Value: drawValue(t)}
		}
		for range rapid.IntRange(0, 3).Draw(t, "messages") {
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0:
				_ = w.stored.Mark(key)
			case 1:
				w.stored.Forget(key)
			case 2:
				_, _ = w.stored.Put(key, []byte("garbage"), rapid.Uint64Range(0, 1).Draw(t, "epoch"))
			default:
				_, _ = w.stored.Put(key, drawValue(t), rapid.Uint64Range(0, 1).Draw(t, "epoch"))
			}
		}
	}
	return w
}

func drawValue(t *rapid.T) []byte {
	return []byte(rapid.SampledFrom([]string{live, newer, going, deleted, vanished, standIn}).Draw(t, "value"))
}

func drawPlaceholder(t *rapid.T) []byte {
	if rapid.Bool().Draw(t, "no placeholder") {
		return nil
	}
	return []byte(standIn)
}

func apply(t *rapid.T, s mirror.Stored, writes []mirror.Write) {
	for _, w := range writes {
		if foreign, err := s.Put(w.Key, w.Value, 9); foreign || err != nil {
			t.Fatalf("own write of %s is foreign: %v, %v", w.Key, foreign, err)
		}
	}
}

func TestDifference_AppliedLeavesNone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		writes, err := mirror.Difference(w.wants, w.stored, at)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(writes, func(a, b mirror.Write) int { return strings.Compare(a.Key, b.Key) }) {
			t.Fatalf("not sorted: %v", writes)
		}
		apply(t, w.stored, writes)
		if again, err := mirror.Difference(w.wants, w.stored, at.Add(time.Hour)); len(again) != 0 || err != nil {
			t.Fatalf("still different: %v, %v", again, err)
		}
		for key, want := range w.wants {
			if want.Value != nil && !bytes.Equal(w.stored[key].Value, want.Value) {
				t.Fatalf("%s is %s, want %s", key, w.stored[key].Value, want.Value)
			}
			if e := w.stored[key]; want.Placeholder != nil && (!e.Own || e.Tombstone) {
				t.Fatalf("%s has a resource, and is taken for gone: %s", key, e.Value)
			}
		}
	})
}

// A difference taken key by key, in any order, comes to the same as the whole.
func TestDifference_OrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		whole, err := mirror.Difference(w.wants, w.stored, at)
		if err != nil {
			t.Fatal(err)
		}
		keys := slices.AppendSeq(slices.Collect(maps.Keys(w.wants)), maps.Keys(w.stored))
		slices.Sort(keys)
		var parts []mirror.Write
		for _, key := range rapid.Permutation(slices.Compact(keys)).Draw(t, "order") {
			wants, stored := map[string]mirror.Want{}, mirror.Stored{}
			if want, ok := w.wants[key]; ok {
				wants[key] = want
			}
			if entry, ok := w.stored[key]; ok {
				stored[key] = entry
			}
			part, err := mirror.Difference(wants, stored, at)
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, part...)
		}
		slices.SortFunc(parts, func(a, b mirror.Write) int { return strings.Compare(a.Key, b.Key) })
		equal := func(a, b mirror.Write) bool {
			return a.Key == b.Key && a.TTL == b.TTL && bytes.Equal(a.Value, b.Value)
		}
		if !slices.EqualFunc(whole, parts, equal) {
			t.Fatalf("whole %v\nparts %v", whole, parts)
		}
	})
}
