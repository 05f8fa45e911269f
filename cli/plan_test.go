package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"harmony.dev/cli/wish"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

const webYAML = `apiVersion: fleet.harmony.dev/v1alpha1
kind: Deployment
metadata: {name: web}
spec:
  targetSelector: {matchLabels: {region: north}}
  score: {type: sim}
`

func devices(n int) []fleet.DeviceID {
	var ids []fleet.DeviceID
	for i := range n {
		ids = append(ids, fleet.DeviceID(fmt.Sprintf("d-%d", i)))
	}
	return ids
}

func deletes(n int, like fleet.PlanDelete) []fleet.PlanDelete {
	var all []fleet.PlanDelete
	for i := range n {
		like.Key = fmt.Sprintf("d-%d.web", i)
		all = append(all, like)
	}
	return all
}

// A person sees the danger of what the brake lets pass.
func TestWarning_OfDevicesLostToAnEditedSelector(t *testing.T) {
	for _, c := range []struct {
		name string
		r    fleet.PlanShowResponse
		want string
	}{
		{"more than a fifth", fleet.PlanShowResponse{LostCount: 21, KeyCount: 100}, "from 21 of the 100 devices that have it (21 %)"},
		{"a fifth", fleet.PlanShowResponse{LostCount: 20, KeyCount: 100}, ""},
		{"all of few", fleet.PlanShowResponse{LostCount: 2, KeyCount: 2}, "100 %"},
		{"none", fleet.PlanShowResponse{GainedCount: 5}, ""},
		{"held", fleet.PlanShowResponse{LostCount: 50, KeyCount: 100, HeldCount: 50}, ""},
		{"held in part", fleet.PlanShowResponse{LostCount: 52, KeyCount: 100, HeldCount: 2}, "from 50 of the 100"},
		{"deleting", fleet.PlanShowResponse{Candidate: fleet.CandidateDeleting}, "is being deleted"},
	} {
		got := warning("web", c.r)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPreviewPage(t *testing.T) {
	item := func(name string, r fleet.PlanShowResponse) previewItem {
		r.Freshness = fleet.Freshness{AsOf: noon, Synced: true}
		w := previewItem{File: "f.yaml", Line: 1, Deployment: fleet.DeploymentName(name)}
		w.accept(r)
		return w
	}
	bad := previewItem{File: "f.yaml", Line: 30}
	bad.refuse(fleet.Errorf(fleet.CodeInvalid, "InvalidCandidate", "one\ntwo"))
	got := text(t, previewPage(preview{Items: []previewItem{
		item("edited", fleet.PlanShowResponse{
			Candidate: fleet.CandidateChanged, PutCount: 9, DeleteCount: 7, KeyCount: 14, Gained: devices(2), GainedCount: 2, Lost: devices(7), LostCount: 7,
			Deletes: deletes(7, fleet.PlanDelete{Cause: fleet.CauseEdited}),
		}),
		item("held", fleet.PlanShowResponse{
			Candidate: fleet.CandidateChanged, HeldCount: 2, WaitCount: 1, KeyCount: 100, Lost: devices(3), LostCount: 3, Hold: &fleet.Hold{ID: "h", Deletes: 12},
			Deletes: append(deletes(2, fleet.PlanDelete{Cause: fleet.CauseVanished, Held: true}), fleet.PlanDelete{Cause: fleet.CauseRelabelled, Wait: true}),
		}),
		item("other", fleet.PlanShowResponse{Candidate: fleet.CandidateNew}),
		item("same", fleet.PlanShowResponse{Candidate: fleet.CandidateUnchanged, KeyCount: 1}),
		item("late", fleet.PlanShowResponse{Candidate: fleet.CandidateUnchanged, PutCount: 1, Gained: devices(1), GainedCount: 1}),
		bad,
	}}, false))
	want := `as of   2026-03-01T12:00:00Z

deployment edited: changed (f.yaml:1)
  gains     2 devices: d-0, d-1
  loses     7 devices: d-0, d-1, d-2, d-3, d-4 and 2 more
  puts      9 keys: 2 new, 7 with another value
  deletes   7 keys
  brake     lets 7 deletes pass (edited: a changed selector is a wish)
  WARNING   it takes edited from 7 of the 14 devices that have it (50 %), and nothing holds that back: the brake lets an edited selector pass, as your wish

deployment held: changed (f.yaml:1)
  gains     no device
  loses     3 devices: d-0, d-1, d-2
  puts      0 keys
  deletes   0 keys at once, 3 not
  brake     has 1 delete wait until the mirror is whole and quiet (relabelled: devices that lost a label)
            holds 2 deletes until a person approves (vanished: a resource that nobody was seen to delete)
            … which is done with 'fleet hold approve h', for all 12 deletes that it holds

deployment other: new (f.yaml:1)
  writes   nothing: it selects no device that is there now

deployment same: unchanged (f.yaml:1)
  writes   nothing: 1 device has it as it is

deployment late: unchanged (f.yaml:1)
  mind      applying it changes nothing: this is due anyway
  gains     1 device: d-0
  loses     no device
  puts      1 key
  deletes   0 keys

deployment without a name: invalid (f.yaml:30)
  it cannot be applied   one
                         two

1 new, 2 changed, 2 unchanged, 1 invalid; nothing was written
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPresentPage_SaysWhatItLeavesOut(t *testing.T) {
	r := fleet.PlanShowResponse{
		Freshness: fleet.Freshness{AsOf: noon, Synced: true}, PutCount: 5000, DeleteCount: 1, KeyCount: 9,
		Deletes: deletes(1, fleet.PlanDelete{Cause: fleet.CauseDeleted}), Invalid: []fleet.PlanInvalid{{Deployment: "db", Message: "score type is empty"}}, InvalidCount: 150,
	}
	for i := range fleet.MaxLimit {
		r.Puts = append(r.Puts, fmt.Sprintf("d-%d.web", i))
	}
	got := text(t, presentPage("", r, false))
	for _, want := range []string{"5000 keys", "delete   d-0.web", "and 4981 more", "score type is empty", "and 149 more"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got = text(t, presentPage("", r, true)); !strings.Contains(got, "d-999.web") {
		t.Errorf("wide does not show all keys:\n%.500s", got)
	}
}

func TestSortWishes(t *testing.T) {
	ours := func(name, namespace string) wish.Document {
		return wish.Document{File: "f", Line: 1, Kind: fleet.KindDeployment, Name: name, Namespace: namespace, Candidate: &fleet.Candidate{}}
	}
	p, err := sortWishes([]wish.Document{ours("a", ""), ours("b", "edge"), ours("c", "other"), {File: "f", Line: 9, APIVersion: "v1", Kind: "Pod", Name: "x"}}, "edge")
	if err != nil || len(p.Items) != 2 || len(p.LeftAside) != 2 {
		t.Fatalf("%+v, %v", p, err)
	}
	if why := p.LeftAside[0].text(); !strings.Contains(why, "it is of namespace other, and this fleet is edge") {
		t.Error(why)
	}
	if _, err := sortWishes([]wish.Document{ours("a", ""), ours("a", "")}, ""); err == nil || !strings.Contains(err.Error(), "is there twice") {
		t.Errorf("twice: %v", err)
	}
}

func TestFilesOf(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.yaml", "a.json", "c.yml", "README.md"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(webYAML), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filesOf(dir)
	if err != nil || len(files) != 3 || filepath.Base(files[0]) != "a.json" {
		t.Errorf("%v, %v", files, err)
	}
	if _, err := filesOf(t.TempDir()); err == nil || !strings.Contains(err.Error(), "has no .yaml") {
		t.Errorf("an empty folder: %v", err)
	}
	if docs, err := readWishes([]string{"-"}, strings.NewReader(webYAML)); err != nil || len(docs) != 1 || docs[0].Where() != "standard input:1" {
		t.Errorf("standard input: %+v, %v", docs, err)
	}
}

// plans answers as a reconciler does, for which only Deployments of type sim are valid.
func (o *operator) plans(state fleet.CandidateState, puts int, asked *atomic.Int64) func(*rpc.Server) {
	return func(s *rpc.Server) {
		o.t.Helper()
		err := rpc.Handle(s, fleet.PlanShow, func(_ context.Context, req fleet.PlanShowRequest) (fleet.PlanShowResponse, error) {
			asked.Add(1)
			r := fleet.PlanShowResponse{Freshness: fleet.Freshness{AsOf: noon, Synced: true}, PutCount: puts, Puts: []string{}, Deletes: []fleet.PlanDelete{}}
			if req.Candidate != nil {
				if r.Candidate = state; req.Candidate.Score.Type != "sim" {
					return r, fleet.Errorf(fleet.CodeInvalid, "InvalidCandidate", "not of this reconciler")
				}
			}
			return r, nil
		})
		if err != nil {
			o.t.Fatal(err)
		}
	}
}

func TestPlan_ExitCodes(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	web := file(webYAML)
	for _, c := range []struct {
		name  string
		state fleet.CandidateState
		puts  int
		args  []string
		code  int
		says  string // on either
		asked int64
	}{
		{"now, nothing", "", 0, []string{"--exit-code"}, 0, "nothing is to be written", 1},
		{"now, something", "", 2, []string{"--exit-code"}, 3, "2 keys", 1},
		{"now, something, not asked for the code", "", 2, nil, 0, "2 keys", 1},
		{"changed", fleet.CandidateChanged, 2, []string{"-f", web, "--exit-code"}, 3, "web: changed", 1},
		{"changed, not asked for the code", fleet.CandidateChanged, 2, []string{"-f", web}, 0, "web: changed", 1},
		{"new, without a device", fleet.CandidateNew, 0, []string{"-f", web, "--exit-code"}, 3, "1 new", 1},
		{"unchanged", fleet.CandidateUnchanged, 2, []string{"-f", web, "--exit-code"}, 0, "1 unchanged", 1},
		{"invalid by the file", "", 0, []string{"-f", file(webYAML + "more: 1\n"), "--exit-code"}, 1, `line 7: unknown field "more"`, 0},
		{"invalid by the reconciler", "", 0, []string{"-f", file(strings.Replace(webYAML, "sim", "x", 1))}, 1, "it cannot be applied   not of this reconciler", 1},
		{"of another fleet", "", 0, []string{"-f", file(strings.Replace(webYAML, "web}", "web, namespace: other}", 1))}, 1, "it is of namespace other", 0},
		{"nothing of the fleet's", "", 0, []string{"-f", file("apiVersion: apps/v1\nkind: Deployment\n")}, 1, "there is nothing to plan", 0},
		{"unreadable", "", 0, []string{"-f", file("a: [")}, 1, "f.yaml: line 1", 0},
		{"not there", "", 0, []string{"-f", "/nowhere.yaml"}, 1, "/nowhere.yaml", 0},
		{"file and name", "", 0, []string{"web", "-f", web}, 2, "not both", 0},
		{"no file", "", 0, []string{"-f"}, 2, "--filename needs a value", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, url := startOperator(t)
			var asked atomic.Int64
			o.serve(fleet.ServiceReconciler, true, o.plans(c.state, c.puts, &asked))
			code, stdout, stderr := invoke(t.Context(), append([]string{"plan", "--nats-url", url}, c.args...)...)
			if code != c.code || !strings.Contains(stdout+stderr, c.says) || asked.Load() != c.asked {
				t.Errorf("exit %d, asked %d times, stderr %q, stdout\n%s", code, asked.Load(), stderr, stdout)
			}
		})
	}
}

func TestPlan_AsJSON(t *testing.T) {
	o, url := startOperator(t)
	var asked atomic.Int64
	o.serve(fleet.ServiceReconciler, true, o.plans(fleet.CandidateChanged, 2, &asked))
	path := filepath.Join(t.TempDir(), "f.yaml")
	if err := os.WriteFile(path, []byte("apiVersion: v1\nkind: Pod\n---\n"+webYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := invoke(t.Context(), "plan", "-f", path, "-o", "json", "--nats-url", url)
	var got preview
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || !strings.Contains(stderr, "left aside") {
		t.Fatalf("exit %d, %v, stderr %q\n%s", code, err, stderr, stdout)
	}
	if len(got.Items) != 1 || got.Items[0].State != fleet.CandidateChanged || got.Items[0].Plan.PutCount != 2 || len(got.LeftAside) != 1 {
		t.Errorf("got %s", stdout)
	}
}
