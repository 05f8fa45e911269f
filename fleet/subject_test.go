package fleet

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEndpoints(t *testing.T) {
	legalName := regexp.MustCompile(`^[A-Za-z0-9_-]+$`) // as nats.go/micro has it
	legalSubject := regexp.MustCompile(`^fleet\.v1\.(aggregator|reconciler|patcher)(\.[a-z]+)+$`)
	subjects, names, descriptions := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, ep := range Endpoints() {
		if !legalName.MatchString(ep.Name) || !legalName.MatchString(ep.Service) {
			t.Errorf("%+v: micro refuses the name", ep)
		}
		if !legalSubject.MatchString(ep.Subject) {
			t.Errorf("%+v: subject is not fleet.v1.<service>.<noun>.<verb>", ep)
		}
		if subjects[ep.Subject] || names[ep.Service+" "+ep.Name] {
			t.Errorf("%+v: subject or name is taken", ep)
		}
		if text := ep.Description(); text == "" || descriptions[text] && ep.Role != RoleEvery {
			t.Errorf("%+v: description %q", ep, text)
		}
		subjects[ep.Subject], names[ep.Service+" "+ep.Name], descriptions[ep.Description()] = true, true, true
		if strings.HasPrefix(ep.Subject, LivePrefix) || strings.HasPrefix(ep.Subject, desiredPrefix) || strings.HasPrefix(ep.Subject, SubjectResyncAll) {
			t.Errorf("%+v: subject lies in what devices may use", ep)
		}
	}
	if text := (Endpoint{Name: "health", Subject: "other.health"}).Description(); text != "" {
		t.Errorf("an endpoint of others is described: %q", text)
	}
	for _, s := range Services() {
		if !subjects[HealthEndpoint(s).Subject] {
			t.Errorf("%s has no health endpoint", s)
		}
	}
}

func TestServices_HaveALease(t *testing.T) {
	buckets := map[string]bool{}
	for _, s := range Services() {
		b := LeaseBucket(s)
		if b == "" || buckets[b] {
			t.Errorf("%s leases %q", s, b)
		}
		buckets[b] = true
	}
	if b := LeaseBucket("fleet-other"); b != "" {
		t.Errorf("an unknown service leases %q", b)
	}
}

// The comment behind each endpoint is its subject, and each is in Endpoints.
func TestEndpoints_CommentsTell(t *testing.T) {
	services := map[string]string{"ServiceAggregator": ServiceAggregator, "ServiceReconciler": ServiceReconciler, "ServicePatcher": ServicePatcher}
	listed := map[string]bool{}
	for _, ep := range Endpoints() {
		listed[ep.Subject] = true
	}
	file, err := parser.ParseFile(token.NewFileSet(), "subject.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		call, ok := spec.Values[0].(*ast.CallExpr)
		if !ok || len(call.Args) != 2 {
			return true
		}
		noun, err := strconv.Unquote(call.Args[1].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		subject := query(services[call.Args[0].(*ast.Ident).Name], noun).Subject
		if comment := strings.TrimSpace(spec.Comment.Text()); comment != subject {
			t.Errorf("%s: comment %q, subject %q", spec.Names[0], comment, subject)
		}
		if !listed[subject] {
			t.Errorf("%s is not in Endpoints", spec.Names[0])
		}
		found++
		return true
	})
	if want := len(Endpoints()) - len(Services()); found != want {
		t.Errorf("%d endpoints found in subject.go, want %d", found, want)
	}
}

// Each builder shows its result for pi-07 and web in its comment.
func TestBuilders_CommentsTell(t *testing.T) {
	pair := Pair{"pi-07", "web"}
	results := map[string]string{
		"StreamName": StreamName(BucketDesiredState), "KeySubject": KeySubject(BucketDesiredState, DesiredKey(pair)),
		"RestoreStreamName": RestoreStreamName(BucketDesiredState), "RestoreSubject": RestoreSubject(BucketDesiredState),
		"DesiredKey": DesiredKey(pair), "AppliedKey": AppliedKey("web"), "InfoKey": InfoKey("pi-07"), "HeartbeatKey": HeartbeatKey("pi-07"),
		"StateKey": StateKey(pair), "DeploymentKey": DeploymentKey("web"), "DeviceKey": DeviceKey("pi-07"),
		"HealthEndpoint": HealthEndpoint(ServicePatcher).Subject, "ResyncSubject": ResyncSubject("pi-07"),
		"DesiredSubject": DesiredSubject("pi-07"), "LiveSubject": LiveSubject(pair), "LiveSubjects": LiveSubjects("pi-07"),
	}
	docs := map[string]string{}
	for _, name := range []string{"bucket.go", "subject.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Name.IsExported() && f.Recv == nil {
				docs[f.Name.Name] = f.Doc.Text()
			}
		}
	}
	for name, doc := range docs {
		builds := strings.HasSuffix(name, "Key") || strings.HasSuffix(name, "Subject") || strings.HasSuffix(name, "Subjects")
		parses := strings.HasPrefix(name, "Parse") || name == "SubjectKey"
		if builds && !parses && results[name] == "" {
			t.Errorf("%s is not in this test", name)
		}
		if want := results[name]; want != "" && !strings.Contains(doc, strconv.Quote(want)) {
			t.Errorf("%s makes %q, its comment says\n%s", name, want, doc)
		}
	}
}

func TestSubjects_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := genPair().Draw(t, "pair")
		if got, err := ParseDesiredSubject(DesiredSubject(p.Device)); got != p.Device || err != nil {
			t.Fatalf("desired: %v, %v", got, err)
		}
		if got, err := ParseLiveSubject(LiveSubject(p)); got != p || err != nil {
			t.Fatalf("live: %v, %v", got, err)
		}
		if got, err := ParseResyncSubject(ResyncSubject(p.Device)); got != p.Device || err != nil {
			t.Fatalf("resync: %v, %v", got, err)
		}
	})
	if got, err := ParseResyncSubject(SubjectResyncAll); got != "" || err != nil {
		t.Errorf("resync of all: %v, %v", got, err)
	}
}

func TestSubjects_IllegalNamesDoNotParse(t *testing.T) {
	for _, bad := range illegalNames() {
		device := DeviceID(bad)
		if got, err := ParseDesiredSubject(DesiredSubject(device)); !errors.Is(err, ErrInvalid) || got != "" {
			t.Errorf("desired subject of %q: %q, %v", bad, got, err)
		}
		if got, err := ParseResyncSubject(ResyncSubject(device)); !errors.Is(err, ErrInvalid) || got != "" {
			t.Errorf("resync subject of %q: %q, %v", bad, got, err)
		}
		for _, p := range []Pair{{device, "web"}, {"pi-07", DeploymentName(bad)}} {
			if got, err := ParseLiveSubject(LiveSubject(p)); !errors.Is(err, ErrIllegalKey) || got != (Pair{}) {
				t.Errorf("live subject of %q: %v, %v", p, got, err)
			}
		}
	}
	for _, other := range []string{"", "pi-07", DesiredSubjects, LivePrefix, SubjectResyncAll, DevicesGet.Subject} {
		if got, err := ParseDesiredSubject(other); err == nil {
			t.Errorf("%q is the desired subject of %q", other, got)
		}
		if got, err := ParseLiveSubject(other); err == nil {
			t.Errorf("%q is the live subject of %q", other, got)
		}
	}
}

func FuzzParseDesiredSubject(f *testing.F) {
	for _, s := range illegalNames() {
		f.Add(DesiredSubject(DeviceID(s)))
	}
	f.Add(DesiredSubject("pi-07"))
	f.Add(DesiredSubjects)
	f.Fuzz(func(t *testing.T, subject string) {
		d, err := ParseDesiredSubject(subject)
		checkParsed(t, subject, DesiredSubject(d), err, d.Validate())
		if err != nil && d != "" {
			t.Fatalf("%q: %q beside %v", subject, d, err)
		}
	})
}

func FuzzParseLiveSubject(f *testing.F) {
	for _, s := range illegalNames() {
		f.Add(LiveSubject(Pair{DeviceID(s), "web"}))
	}
	f.Add(LiveSubject(Pair{"pi-07", "web"}))
	f.Add(LiveSubjects("pi-07"))
	f.Fuzz(func(t *testing.T, subject string) {
		p, err := ParseLiveSubject(subject)
		checkParsed(t, subject, LiveSubject(p), err, p.Device.Validate(), p.Deployment.Validate())
	})
}
