package query

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/staleness"
	"harmony.dev/services/aggregator/view"
)

// maxPayload is what a NATS server takes by default.
const maxPayload = 1 << 20

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// serve returns a Server that answers from a fleet.
func serve(fill func(*projection.State)) *Server {
	v := view.New(func() time.Time { return noon }, staleness.Config{
		Interval: staleness.DefaultInterval, StaleAfter: staleness.DefaultStaleAfter, SilenceAfter: staleness.DefaultSilenceAfter, Few: staleness.DefaultFew,
	}, 0)
	v.Read(func(s *projection.State, _ view.Moment) { fill(s) })
	return &Server{view: v}
}

func deviceID(i int) fleet.DeviceID { return fleet.DeviceID(fmt.Sprintf("dev-%04d", i)) }

// wish puts a Deployment into the mirror and returns the value that it desires.
func wish(t testing.TB, s *projection.State, name fleet.DeploymentName) []byte {
	t.Helper()
	m := fleet.MirrorDeployment{UID: "u", Generation: 1, Score: fleet.Score{Type: "container"}}
	s.PutDeployment(name, m)
	value, err := fleet.EncodeDesired(fleet.Desired{UID: m.UID, Score: m.Score})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func desire(t testing.TB, s *projection.State, p fleet.Pair, value []byte) {
	t.Helper()
	if err := s.PutDesired(p, value, noon); err != nil {
		t.Fatal(err)
	}
}

// report has a pair report on a value; it failed when there is an error.
func report(s *projection.State, p fleet.Pair, value []byte, message string) {
	r := fleet.Report{Phase: fleet.PhaseRunning, ObservedHash: fleet.Hash(value), LastEventAt: "2026-03-01T12:00:00Z"}
	if message != "" {
		r.Phase, r.LastError = fleet.PhaseFailed, message
	}
	s.PutReport(p, r, projection.Origin{Revision: 1, At: noon})
}

// sent returns how large an answer is on the wire; it fails when that is more than a server takes.
func sent(t *testing.T, answer any, err error) int {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	n, err := size(answer)
	if err != nil {
		t.Fatal(err)
	}
	if n > maxPayload {
		t.Errorf("an answer of %d bytes", n)
	}
	return n
}

// hostile are the texts of most bytes that a device can have us send.
var hostile = map[string]string{
	"plain":   strings.Repeat("e", fleet.MaxErrorSize),
	"control": strings.Repeat("\x01", fleet.MaxErrorSize),
	"quotes":  strings.Repeat(`"`, fleet.MaxErrorSize),
	"lines":   strings.Repeat("\u2028", fleet.MaxErrorSize/3),
}

func TestSize_IsWhatGoesOverTheWire(t *testing.T) {
	for name, text := range hostile {
		v := fleet.PairView{Device: "d", LastError: text + "<&>\xff"}
		n, err := size(v)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false) // as package rpc does it
		if err := enc.Encode(v); err != nil || n != b.Len() {
			t.Errorf("%s: %d bytes, want %d (%v)", name, n, b.Len(), err)
		}
	}
}

func TestDeploymentsGet_FitsWhateverTheDevicesSay(t *testing.T) {
	for name, text := range hostile {
		t.Run(name, func(t *testing.T) {
			q := serve(func(s *projection.State) {
				value := wish(t, s, "web")
				for i := range 900 {
					p := fleet.Pair{Device: deviceID(i), Deployment: "web"}
					desire(t, s, p, value)
					report(s, p, value, map[bool]string{true: text}[i >= 100])
				}
			})
			got, err := q.DeploymentsGet(t.Context(), fleet.GetRequest{Name: "web"})
			n := sent(t, got, err)
			if !got.Truncated || n < budget*9/10 {
				t.Errorf("%d pairs in %d bytes, truncated: %t", len(got.Pairs), n, got.Truncated)
			}
			for i, p := range got.Pairs {
				if p.Class != fleet.ClassFailed || p.Device != deviceID(100+i) {
					t.Fatalf("pair %d is %s of %s", i, p.Class, p.Device)
				}
			}
		})
	}
}

func TestDeploymentsGet_TellsTheLastChanges(t *testing.T) {
	q := serve(func(s *projection.State) {
		value := wish(t, s, "web")
		for i := range 100 {
			p := fleet.Pair{Device: deviceID(i), Deployment: "web"}
			if err := s.PutDesired(p, value, noon.Add(time.Duration(i)*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		s.PutApplied("web", fleet.Applied{UID: "u", Generation: 1}, noon.Add(200*time.Second))
		report(s, fleet.Pair{Device: deviceID(98), Deployment: "web"}, value, "") // at noon
		r := fleet.Report{Phase: fleet.PhaseFailed, ObservedHash: fleet.Hash(value), LastEventAt: "2020-01-01T00:00:00Z"}
		if err := s.PutReport(fleet.Pair{Device: deviceID(7), Deployment: "web"}, r, projection.Origin{Revision: 1, At: noon.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	})
	got, err := q.DeploymentsGet(t.Context(), fleet.GetRequest{Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	want := []fleet.Change{
		{At: noon.Add(time.Hour), Kind: fleet.ChangeReported, Device: deviceID(7), Phase: fleet.PhaseFailed},
		{At: noon.Add(200 * time.Second), Kind: fleet.ChangeApplied, Generation: 1},
		{At: noon.Add(99 * time.Second), Kind: fleet.ChangeDesired, Device: deviceID(99)},
	}
	if len(got.Changes) != fleet.MaxChanges || !slices.Equal(got.Changes[:3], want) {
		t.Errorf("%+v", got.Changes)
	}
}

func TestDevicesSummary_PagesOfAllDevices(t *testing.T) {
	const devices = 20_000
	q := serve(func(s *projection.State) {
		for i := range devices {
			s.PutHeartbeat(fleet.DeviceID(fmt.Sprintf("device-with-a-rather-long-name-%05d", i)), projection.Origin{Revision: uint64(i + 1), At: noon})
		}
	})
	seen, pages := 0, 0
	for after := ""; ; pages++ {
		got, err := q.DevicesSummary(t.Context(), fleet.DevicesSummaryRequest{After: after})
		sent(t, got, err)
		if got.Total != devices {
			t.Fatalf("total %d", got.Total)
		}
		seen += len(got.Items)
		if after = got.Next; after == "" {
			break
		}
	}
	if seen != devices || pages == 0 {
		t.Errorf("%d devices on %d pages", seen, pages+1)
	}
}

func TestDeploymentsGet_SmallAnswerIsWhole(t *testing.T) {
	q := serve(func(s *projection.State) {
		value := wish(t, s, "web")
		for i := range 900 {
			desire(t, s, fleet.Pair{Device: deviceID(i), Deployment: "web"}, value)
		}
	})
	got, err := q.DeploymentsGet(t.Context(), fleet.GetRequest{Name: "web"})
	sent(t, got, err)
	if len(got.Pairs) != 900 || got.Truncated {
		t.Errorf("%d pairs, truncated: %t", len(got.Pairs), got.Truncated)
	}
}

// facts are 28 KiB of inventory.
func facts(text string) map[string]string {
	out := map[string]string{}
	for i := range 28 {
		out[fmt.Sprintf("fact-%d", i)] = text
	}
	return out
}

func TestDevicesList_PagesEndAtTheirBytes(t *testing.T) {
	for name, text := range hostile {
		t.Run(name, func(t *testing.T) {
			q := serve(func(s *projection.State) {
				for i := range 40 {
					s.PutInfo(deviceID(i), fleet.DeviceInfo{Inventory: facts(text)}, projection.Origin{Revision: 1, At: noon})
				}
			})
			var seen []fleet.DeviceID
			for after, more := "", true; more; {
				got, err := q.DevicesList(t.Context(), fleet.DevicesListRequest{Page: fleet.Page{After: after}})
				sent(t, got, err)
				for _, d := range got.Items {
					seen = append(seen, d.Name)
				}
				if got.Total != 40 || len(got.Items) == 0 {
					t.Fatalf("total %d, %d items after %q", got.Total, len(got.Items), after)
				}
				after, more = got.Next, got.Next != ""
			}
			if len(seen) != 40 || !slices.IsSorted(seen) || len(slices.Compact(slices.Clone(seen))) != 40 {
				t.Errorf("%v", seen)
			}
		})
	}
}

func TestDeploymentsList_PagesEndAtTheirBytes(t *testing.T) {
	names := []fleet.DeploymentName{"a", "b", "c"}
	q := serve(func(s *projection.State) {
		for _, name := range names {
			s.PutDeployment(name, fleet.MirrorDeployment{UID: "u", TargetSelector: largest()})
		}
	})
	var seen []fleet.DeploymentName
	for after, more := "", true; more; {
		got, err := q.DeploymentsList(t.Context(), fleet.DeploymentsListRequest{Page: fleet.Page{After: after}})
		sent(t, got, err)
		for _, d := range got.Items {
			seen = append(seen, d.Name)
		}
		after, more = got.Next, got.Next != ""
	}
	if !slices.Equal(seen, names) {
		t.Errorf("%v", seen)
	}
	got, err := q.DeploymentsGet(t.Context(), fleet.GetRequest{Name: "a"})
	sent(t, got, err)
}

func TestDevicesGet_ShowsWhatNeedsALook(t *testing.T) {
	q := serve(func(s *projection.State) {
		for i := range 900 {
			p := fleet.Pair{Device: "d", Deployment: fleet.DeploymentName(fmt.Sprintf("dep-%04d", i))}
			value := wish(t, s, p.Deployment)
			desire(t, s, p, value)
			report(s, p, value, map[bool]string{true: hostile["control"]}[i >= 850])
		}
	})
	got, err := q.DevicesGet(t.Context(), fleet.GetRequest{Name: "d"})
	sent(t, got, err)
	failed := 0
	for _, p := range got.Pairs {
		if p.Class == fleet.ClassFailed {
			failed++
		}
	}
	byName := func(a, b fleet.PairView) int { return cmp.Compare(a.Deployment, b.Deployment) }
	if failed != 50 || len(got.Pairs) >= 900 || got.Device.Deployments != 900 || !slices.IsSortedFunc(got.Pairs, byName) {
		t.Errorf("%d pairs of %d, %d failed", len(got.Pairs), got.Device.Deployments, failed)
	}
}

// largest is a selector as large as the mirror lets one be.
func largest() fleet.Selector {
	s := fleet.Selector{MatchLabels: map[string]string{}}
	long := strings.Repeat("v", fleet.MaxNameLength-4)
	for i := range 64 {
		s.MatchLabels[fmt.Sprintf("label-%02d", i)] = long
		e := fleet.SelectorRequirement{Key: fmt.Sprintf("key-%02d", i), Operator: "In"}
		for j := range 118 {
			e.Values = append(e.Values, fmt.Sprintf("%s%04d", long, j))
		}
		s.MatchExpressions = append(s.MatchExpressions, e)
	}
	return s
}

// These two have no budget, because what they carry is bounded.
func TestAnswers_WithoutABudgetAreSmall(t *testing.T) {
	long := strings.Repeat("d", fleet.MaxNameLength-4)
	selector := largest()
	if n, err := size(selector); err != nil || n < 480<<10 || n > fleet.MaxMirrorSize {
		t.Fatalf("a selector of %d bytes, %v", n, err)
	}
	q := serve(func(s *projection.State) {
		for i := range fleet.MaxLimit {
			s.PutDevice(fleet.DeviceID(fmt.Sprintf("%s%04d", long, i)), fleet.MirrorDevice{UID: "u"}, projection.Origin{Revision: 1, At: noon})
		}
		s.PutDeployment("web", fleet.MirrorDeployment{UID: "u", TargetSelector: selector})
		report(s, fleet.Pair{Device: fleet.DeviceID(long + "0000"), Deployment: "web"}, nil, hostile["control"])
	})
	matched, err := q.SelectorMatch(t.Context(), fleet.SelectorMatchRequest{Page: fleet.Page{Limit: fleet.MaxLimit}, Selector: &fleet.Selector{}})
	if sent(t, matched, err); len(matched.Devices) != fleet.MaxLimit {
		t.Errorf("%d devices", len(matched.Devices))
	}
	why, err := q.DeviceExplain(t.Context(), fleet.DeviceExplainRequest{Device: fleet.DeviceID(long + "0000"), Deployment: "web"})
	if sent(t, why, err); len(why.Facts) < 128 {
		t.Errorf("%d facts", len(why.Facts))
	}
}

// Nobody knows whom a Device matches that the mirror does not show: it gets nothing new. It is listed all the same.
func TestSelectorMatch_LeavesOutInvalidDevices(t *testing.T) {
	q := serve(func(s *projection.State) {
		s.PutDevice("pi-1", fleet.MirrorDevice{UID: "u"}, projection.Origin{Revision: 1, At: noon})
		s.PutDevice("pi-2", fleet.MirrorDevice{UID: "u", Invalid: "no finalizer yet"}, projection.Origin{Revision: 2, At: noon})
		s.PutInfo("pi-2", fleet.DeviceInfo{Labels: map[string]string{"region": "north"}}, projection.Origin{Revision: 3, At: noon})
	})
	matched, err := q.SelectorMatch(t.Context(), fleet.SelectorMatchRequest{Selector: &fleet.Selector{}})
	if err != nil || !slices.Equal(matched.Devices, []fleet.DeviceID{"pi-1"}) {
		t.Errorf("matched %v, %v", matched.Devices, err)
	}
	got, err := q.DevicesGet(t.Context(), fleet.GetRequest{Name: "pi-2"})
	if d := got.Device; err != nil || !d.Registered || d.UID != "u" || d.Labels["region"] != "north" {
		t.Errorf("listed as %+v, %v", d, err)
	}
}

// A scan lets others at the view after each chunk, also to work on what it found there.
func TestScanBy_LetsOthersIn(t *testing.T) {
	q := serve(func(s *projection.State) {
		for i := range 10 {
			s.PutHeartbeat(deviceID(i), projection.Origin{Revision: uint64(i + 1), At: noon})
		}
	})
	looked, chunks := 0, []int{}
	_, err := scanBy(t.Context(), q.view, 4, func(*projection.State, projection.Device) { looked++ }, func() {
		let := make(chan struct{})
		go q.view.Read(func(*projection.State, view.Moment) { close(let) })
		select {
		case <-let:
		case <-time.After(10 * time.Second):
			t.Fatal("the view is locked")
		}
		chunks, looked = append(chunks, looked), 0
	})
	if want := []int{4, 4, 2}; err != nil || !slices.Equal(chunks, want) {
		t.Errorf("chunks of %v, want %v (%v)", chunks, want, err)
	}
}

// selecting fills a fleet of n devices, half of which a Deployment with some requirements selects.
func selecting(t testing.TB, n int) *Server {
	t.Helper()
	return serve(func(s *projection.State) {
		m := fleet.MirrorDeployment{UID: "u", Generation: 1, Score: fleet.Score{Type: "container"}, TargetSelector: fleet.Selector{
			MatchLabels: map[string]string{"region": "north"},
			MatchExpressions: []fleet.SelectorRequirement{
				{Key: "tier", Operator: "In", Values: []string{"edge", "lab", "shop"}}, {Key: "retired", Operator: "DoesNotExist"},
			},
		}}
		s.PutDeployment("web", m)
		s.PutApplied("web", fleet.Applied{UID: "u", Generation: 1}, noon)
		value, err := fleet.EncodeDesired(fleet.Desired{UID: m.UID, Score: m.Score})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			id := fleet.DeviceID(fmt.Sprintf("device-%07d", i))
			labels := map[string]string{"region": []string{"north", "south"}[i%2], "tier": "edge"}
			s.PutDevice(id, fleet.MirrorDevice{UID: "d", Labels: labels}, projection.Origin{Revision: uint64(i + 1), At: noon})
			if i%2 == 0 {
				p := fleet.Pair{Device: id, Deployment: "web"}
				desire(t, s, p, value)
				report(s, p, value, "")
			}
		}
	})
}

func TestDeploymentExplain_CountsTheDevicesOfAllChunks(t *testing.T) {
	const n = 3*explainChunk + 5
	got, err := selecting(t, n).DeploymentExplain(t.Context(), fleet.DeploymentExplainRequest{Deployment: "web"})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, g := range got.Groups {
		counts[g.Verdict+": "+g.Reason] = g.Count
	}
	want := map[string]int{"Running: ": n/2 + 1, `NoMatch: label region is "south", wanted "north"`: n / 2}
	if !maps.Equal(counts, want) {
		t.Errorf("got %v, want %v", counts, want)
	}
}

// A device of the least bytes is on a page, too, and a page ends where its bytes do.
func TestDevicesSummary_TakesWhatFitsAndNoMore(t *testing.T) {
	least, err := size(fleet.DeviceSummary{Name: "a", State: fleet.DeviceFresh})
	if err != nil || least < leastSummary {
		t.Errorf("the least takes %d bytes, and %d are reckoned with (%v)", least, leastSummary, err)
	}
	const devices = 3 * budget / leastSummary
	q := serve(func(s *projection.State) {
		for i := range devices {
			s.PutHeartbeat(fleet.DeviceID(strconv.FormatInt(int64(i), 36)), projection.Origin{Revision: uint64(i + 1), At: noon})
		}
	})
	got, err := q.DevicesSummary(t.Context(), fleet.DevicesSummaryRequest{})
	n := sent(t, got, err)
	if got.Total != devices || got.Next != string(got.Items[len(got.Items)-1].Name) || n < budget*9/10 || cap(got.Items) > 2*budget/leastSummary {
		t.Errorf("%d of %d devices in %d bytes, of %d that were gathered, next %q", len(got.Items), got.Total, n, cap(got.Items), got.Next)
	}
}

// BenchmarkDeploymentExplain is what a device costs, and how long others waited for the view at most.
func BenchmarkDeploymentExplain(b *testing.B) {
	const n = 100_000
	q := selecting(b, n)
	q.view.Read(func(s *projection.State, _ view.Moment) { s.DeviceNames() }) // sorted once for all queries
	stop, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		var most time.Duration
		for {
			select {
			case <-stop:
				longest <- most
				return
			case <-time.After(100 * time.Microsecond):
			}
			began := time.Now()
			q.view.Read(func(*projection.State, view.Moment) {})
			most = max(most, time.Since(began))
		}
	}()
	for b.Loop() {
		if _, err := q.DeploymentExplain(b.Context(), fleet.DeploymentExplainRequest{Deployment: "web"}); err != nil {
			b.Fatal(err)
		}
	}
	close(stop)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/device")
	b.ReportMetric(float64((<-longest).Microseconds()), "µs-longest-wait")
}

// The pairs that are shown are the first of all of them, however they come.
func TestWorst_ShowsTheFirstOfAll(t *testing.T) {
	const n = fleet.MaxLimit + 700
	s := projection.New()
	value := wish(t, s, "web")
	var want []fleet.PairView
	for k := range n {
		i := k * 7919 % n
		p := fleet.Pair{Device: deviceID(i), Deployment: "web"}
		desire(t, s, p, value)
		class := fleet.ClassPending
		switch i % 3 {
		case 0:
			report(s, p, value, "no image")
			class = fleet.ClassFailed
		case 1:
			report(s, p, value, "")
			class = fleet.ClassRunning
		}
		want = append(want, fleet.PairView{Device: p.Device, Class: class})
	}
	slices.SortFunc(want, func(a, b fleet.PairView) int {
		return cmp.Or(cmp.Compare(concern(a.Class), concern(b.Class)), cmp.Compare(a.Device, b.Device))
	})
	got, truncated := worst(s, "web")
	if len(got) != fleet.MaxLimit || !truncated {
		t.Fatalf("%d pairs, truncated: %t", len(got), truncated)
	}
	for i, p := range got {
		if p.Device != want[i].Device || p.Class != want[i].Class {
			t.Fatalf("%d: %s %s, want %s %s", i, p.Device, p.Class, want[i].Device, want[i].Class)
		}
	}
}

// BenchmarkWorst is how long the view is locked for the pairs of one large Deployment.
func BenchmarkWorst(b *testing.B) {
	for _, n := range []int{100_000, 300_000} {
		b.Run(fmt.Sprintf("%dk", n/1000), func(b *testing.B) {
			s := projection.New()
			value := wish(b, s, "web")
			for i := range n {
				desire(b, s, fleet.Pair{Device: fleet.DeviceID(fmt.Sprintf("device-%07d", i*7919%n)), Deployment: "web"}, value)
			}
			for b.Loop() {
				worst(s, "web")
			}
		})
	}
}
