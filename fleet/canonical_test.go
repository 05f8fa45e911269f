package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCanonical(t *testing.T) {
	for _, tc := range []struct{ name, doc, want string }{
		{"keys sorted, no space", " {\"b\" : 1 ,\n\"a\":[ 1 , 2 ]} ", `{"a":[1,2],"b":1}`},
		{"keys sorted by bytes", `{"é":1,"z":2,"Z":3,"":4,"zz":5}`, `{"":4,"Z":3,"z":2,"zz":5,"é":1}`},
		{"keys sorted by bytes, not by UTF-16", `{"\ud83d\ude00":1,"\uffff":2}`, "{\"\uffff\":2,\"😀\":1}"},
		{"escaped keys are the same keys", `{"\u0061":1,"a":2}`, `{"a":2}`},
		{"the last duplicate counts", `{"a":{"x":1},"b":0,"a":{"y":2}}`, `{"a":{"y":2},"b":0}`},
		{"keys differ by case", `{"a":1,"A":2}`, `{"A":2,"a":1}`},
		{"numbers as written", `[1.0,1,-0,0e0,1E+2,1e400,0.10,100000000000000000000]`, `[1.0,1,-0,0e0,1E+2,1e400,0.10,100000000000000000000]`},
		{"no HTML escaping", `"\u003c&>"`, `"<&>"`},
		{"line separators as themselves", `"\u2028\u2029"`, "\"\u2028\u2029\""},
		{"short escapes", `"\u0008\u0009\u000a\u000c\u000d\u0022\u005c\/"`, `"\b\t\n\f\r\"\\/"`},
		{"other control characters", `"\u0000\u001F\u007f"`, "\"\\u0000\\u001f\x7f\""},
		{"surrogate pair", `"\uD83D\uDE00"`, `"😀"`},
		{"escaped backslash before u", `"\\ud800"`, `"\\ud800"`},
		{"replacement character", `"\ufffd"`, "\"\ufffd\""},
		{"brackets in strings", `"[[[{{{\"]"`, `"[[[{{{\"]"`},
		{"deep brackets after an escaped quote", `"\"` + strings.Repeat("[", MaxDepth+1) + `"`, `"\"` + strings.Repeat("[", MaxDepth+1) + `"`},
		{"scalars", ` true `, `true`},
		{"null", `null`, `null`},
		{"empty", `{"a":{},"b":[]}`, `{"a":{},"b":[]}`},
		{"deepest", nested(MaxDepth), nested(MaxDepth)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Canonical([]byte(tc.doc))
			if err != nil || string(got) != tc.want {
				t.Errorf("got %s, %v\nwant %s", got, err, tc.want)
			}
		})
	}
}

func TestCanonical_Refuses(t *testing.T) {
	for _, tc := range []struct{ name, doc, text string }{
		{"nothing", "", "parse JSON"},
		{"white space", " \n", "parse JSON"},
		{"two documents", `{} {}`, "more than one"},
		{"trailing text", `1 x`, "more than one"},
		{"trailing bracket", `[1]]`, "more than one"},
		{"NaN", `NaN`, "parse JSON"},
		{"leading zero", `01`, "more than one"},
		{"bare point", `[1.]`, "parse JSON"},
		{"raw control character", "\"\n\"", "parse JSON"},
		{"trailing comma", `[1,]`, "parse JSON"},
		{"comment", `{} // x`, "more than one"},
		{"byte order mark", "\ufeff{}", "parse JSON"},
		{"not UTF-8", "\"\xff\"", "not UTF-8"},
		{"surrogate in UTF-8", "\"\xed\xa0\x80\"", "not UTF-8"},
		{"high half", `"\ud800"`, "surrogate"},
		{"high half, then another escape", `"\ud800\u0041"`, "surrogate"},
		{"high half, then high half", `"\uD83D\uD83D\uDE00"`, "surrogate"},
		{"low half", `["\udfff"]`, "surrogate"},
		{"low half, then low half", `"\udc00\udc00"`, "surrogate"},
		{"half in a key", `{"\udead":1}`, "surrogate"},
		{"too deep", nested(MaxDepth + 1), "deeper than 64"},
		{"too deep after an escaped backslash", `["\\",` + nested(MaxDepth) + `]`, "deeper than 64"},
		{"unclosed", strings.Repeat("[", 1<<20), "deeper than 64"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Canonical([]byte(tc.doc))
			if got != nil || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %s, %v, want an error with %q", got, err, tc.text)
			}
		})
	}
}

// Another implementation, with the escapes that encoding/json adds undone, gives the same bytes.
func TestCanonical_AsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genJSON(4).Draw(t, "value")
		doc, err := json.MarshalIndent(v, " ", "\t")
		if err != nil {
			t.Fatal(err)
		}
		got, err := Canonical(doc)
		if err != nil {
			t.Fatal(err)
		}
		want, err := marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, unescapeSeparators(want)) {
			t.Fatalf("got %s\nwant %s", got, want)
		}
	})
}

func FuzzCanonical(f *testing.F) {
	for _, doc := range []string{
		`{"b":1,"a":[1.0,-0,1e400,{"\u00e9":"<&>\u2028"}]}`, `{"a":1,"a":2}`, `"\ud83d\ude00\ud800"`, `"\\\"[{"`, ` null `, "\"\xff\"", `{} {}`, nested(70), "",
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := Canonical(doc)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("%q: %v does not wrap ErrInvalid", doc, err)
			}
			return
		}
		if again, err := Canonical(got); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("not idempotent: %s, then %s, %v", got, again, err)
		}
		if want := parseAny(t, doc); !reflect.DeepEqual(parseAny(t, got), want) {
			t.Fatalf("%s means something else than %s", got, doc)
		}
		checkSorted(t, json.NewDecoder(bytes.NewReader(got)))
	})
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func parseAny(t *testing.T, doc []byte) (v any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%q: %v", doc, err)
	}
	return v
}

// checkSorted reads one value and fails unless the keys of each object rise.
func checkSorted(t *testing.T, dec *json.Decoder) {
	t.Helper()
	dec.UseNumber()
	token, err := dec.Token()
	if err != nil {
		t.Fatal(err)
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return
	}
	var keys []string
	for dec.More() {
		if delim == '{' {
			key, err := dec.Token()
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, key.(string))
		}
		checkSorted(t, dec)
	}
	if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
		t.Fatalf("keys %q do not rise", keys)
	}
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
}

// unescapeSeparators undoes the escapes of U+2028 and U+2029 that encoding/json makes even without HTML
// escaping. An escaped backslash before "u2028" is not one of them.
func unescapeSeparators(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch {
		case bytes.HasPrefix(b[i:], []byte(`\u2028`)):
			out, i = append(out, "\u2028"...), i+5
		case bytes.HasPrefix(b[i:], []byte(`\u2029`)):
			out, i = append(out, "\u2029"...), i+5
		case b[i] == '\\':
			out, i = append(out, b[i], b[i+1]), i+1
		default:
			out = append(out, b[i])
		}
	}
	return out
}

func genJSON(depth int) *rapid.Generator[any] {
	leaf := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(genText(), func(s string) any { return s }),
		rapid.Map(rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?`), func(s string) any { return json.Number(s) }),
	)
	if depth == 0 {
		return leaf
	}
	inner := genJSON(depth - 1)
	return rapid.OneOf(
		leaf,
		rapid.Map(rapid.SliceOfN(inner, 0, 4), func(s []any) any { return s }),
		rapid.Map(rapid.MapOfN(genText(), inner, 0, 4), func(m map[string]any) any { return m }),
	)
}

// genText makes strings of the characters that JSON has special ways to write, and of any others.
func genText() *rapid.Generator[string] {
	special := rapid.SampledFrom([]rune("\x00\b\t\n\f\r\x1f\"\\/<>&\x7fu2028\u2028\u2029\ufffdé😀"))
	return rapid.Map(rapid.SliceOfN(rapid.OneOf(special, rapid.Rune()), 0, 12), func(r []rune) string { return string(r) })
}
