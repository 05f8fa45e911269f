package wish_test

import (
	"fmt"
	"strings"
	"testing"

	"harmony.dev/cli/wish"
)

const web = `apiVersion: fleet.harmony.dev/v1alpha1
kind: Deployment
metadata: {name: web, labels: {a: b}}
spec:
  targetSelector:
    matchLabels: {region: north}
  score:
    type: container
    data: {image: "web:1", ratio: 1.0, args: [yes, 0x10]}
`

// shown is one line for each document: where it is, what it is, and what is wrong with it.
func shown(docs []wish.Document) string {
	var b strings.Builder
	for _, d := range docs {
		fmt.Fprintf(&b, "%s %s", d.Where(), d.Subject())
		switch {
		case d.Err != nil:
			fmt.Fprintf(&b, ": %v", d.Err)
		case d.Candidate != nil:
			b.WriteString(" ok")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestRead(t *testing.T) {
	deployment := func(rest string) string {
		return "apiVersion: fleet.harmony.dev/v1alpha1\nkind: Deployment\nmetadata: {name: web}\n" + rest
	}
	const score = "  score: {type: sim}\n"
	for _, c := range []struct{ name, text, want string }{
		{"one", web, "f:1 fleet.harmony.dev/v1alpha1 Deployment web ok"},
		{
			"several, among other kinds", "# head\n---\n" + web + "---\n# nothing\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: site}\nanything: goes\n---\n" + strings.Replace(web, "name: web", "name: api", 1),
			"f:3 fleet.harmony.dev/v1alpha1 Deployment web ok\nf:15 v1 ConfigMap site\nf:20 fleet.harmony.dev/v1alpha1 Deployment api ok",
		},
		{"dashes in a text are none of a document", strings.Replace(web, `image: "web:1"`, `image: "---"`, 1), "f:1 fleet.harmony.dev/v1alpha1 Deployment web ok"},
		{"a list", "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(web), "\n", "\n  ") + "\n- {apiVersion: v1, kind: Pod}\n", "f:4 fleet.harmony.dev/v1alpha1 Deployment web ok\nf:13 v1 Pod"},
		{
			"JSON, one after the other", `{"apiVersion":"fleet.harmony.dev/v1alpha1","kind":"Deployment","metadata":{"name":"web"},"spec":{"targetSelector":{},"score":{"type":"sim"}}}` + "\n{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\"\n}",
			"f:1 fleet.harmony.dev/v1alpha1 Deployment web ok\nf:2 v1 Pod",
		},
		{"a device is another kind", "apiVersion: fleet.harmony.dev/v1alpha1\nkind: Device\nmetadata: {name: pi}\n", "f:1 fleet.harmony.dev/v1alpha1 Device pi"},
		{"a status is left out by the API", deployment("spec:\n  targetSelector: {}\n" + score + "status: {anything: 1}\n"), "web ok"},

		{"unknown field", deployment("spec:\n  targetSelector:\n    matchLabel: {a: b}\n" + score), `line 6: unknown field "spec.targetSelector.matchLabel"`},
		{"unknown field of an expression", deployment("spec:\n  targetSelector:\n    matchExpressions:\n    - {key: a, operator: Exists}\n    - key: b\n      op: Exists\n" + score), `line 9: unknown field "spec.targetSelector.matchExpressions[1].op"`},
		{"unknown fields, all of them", deployment("spec:\n  targetSelector: {}\n" + score + "  x: 1\nmore: 2\n"), "line 7: unknown field \"spec.x\"\nline 8: unknown field \"more\""},
		{"field in other letters", deployment("spec:\n  targetselector: {}\n" + score), `line 5: unknown field "spec.targetselector"`},
		{"number for a text", deployment("spec:\n  targetSelector:\n    matchLabels: {rack: 7}\n" + score), "spec.targetSelector.matchLabels is a number, and must be a text: write it in quotes"},
		{"no name", "apiVersion: fleet.harmony.dev/v1alpha1\nkind: Deployment\nspec:\n  targetSelector: {}\n" + score, "metadata.name is missing"},
		{"a name that is none", strings.Replace(web, "name: web", "name: Web.1", 1), `deployment name "Web.1" is not a DNS label`},
		{"no selector", deployment("spec:\n" + score), "spec.targetSelector is missing; {} selects every device"},
		{"no score", deployment("spec:\n  targetSelector: {}\n"), "spec.score is missing"},
		{"bad label", deployment("spec:\n  targetSelector:\n    matchLabels: {a: b c}\n" + score), `spec.targetSelector: invalid selector: matchLabels "a"`},
		{"bad operator", deployment("spec:\n  targetSelector:\n    matchExpressions: [{key: a, operator: Like}]\n" + score), `operator "Like" is not In`},
		{"bad type", deployment("spec:\n  targetSelector: {}\n  score: {type: '1 x'}\n"), "spec.score: score type"},
		{"too large", deployment("spec:\n  targetSelector: {}\n  score: {type: sim, data: \"" + strings.Repeat("x", 70_000) + "\"}\n"), "at most 65536 are allowed"},
		{"another version", strings.Replace(web, "v1alpha1", "v1", 1), `apiVersion "fleet.harmony.dev/v1" is not known: it is fleet.harmony.dev/v1alpha1`},
		{"another kind", strings.Replace(web, "kind: Deployment", "kind: Deploymnet", 1), `kind "Deploymnet" is not known`},
		{"no kind", "metadata: {name: web}\n", "it says no apiVersion or no kind"},
		{"Kubernetes' own Deployment", strings.Replace(web, "fleet.harmony.dev/v1alpha1", "apps/v1", 1), "f:1 apps/v1 Deployment web\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			docs, err := wish.Read("f", []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := shown(docs); !strings.Contains(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestRead_Unreadable(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{web + "---\nkind: [\n", "f: line 1"},
		{"a: 1\na: 2\n", `f: line 2: key "a" already set in map`},
		{"{\"a\": 1}\n{\"b\": }", "f: line 2:"},
		{"just words\n", "it is a string, and a resource has fields"},
		{"- a\n", "it is an array, and a resource has fields"},
	} {
		docs, err := wish.Read("f", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, %v, want %q", c.text, docs, err, c.want)
		}
	}
	if docs, err := wish.Read("f", []byte("# nothing\n---\n")); err != nil || len(docs) != 0 {
		t.Errorf("nothing: %v, %v", docs, err)
	}
}

// Other text for the same data would look like a change of the score.
func TestRead_DataIsAsTheAPIGivesItBack(t *testing.T) {
	docs, err := wish.Read("f", []byte(web))
	if err != nil || len(docs) != 1 || docs[0].Candidate == nil {
		t.Fatalf("%v, %v", docs, err)
	}
	if got, want := string(docs[0].Candidate.Score.Data), `{"args":[true,16],"image":"web:1","ratio":1}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// FuzzRead feeds any text: nothing that it accepts is without a name.
func FuzzRead(f *testing.F) {
	for _, s := range []string{web, "---\n", "{}{}", "{\"items\":[1],\"kind\":\"List\",\"apiVersion\":\"v1\"}", "a: &x [*x]", "\ufeffkind: x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		docs, err := wish.Read("f", []byte(text))
		for _, d := range docs {
			if err != nil || d.Line < 1 || d.Candidate != nil && (d.Name == "" || d.Err != nil) {
				t.Fatalf("%q: %+v, %v", text, d, err)
			}
		}
	})
}
