package observe

import (
	"encoding/json"
	"strings"
	"testing"
)

// dashboard is deploy/grafana/dashboard.json, as far as a test looks at it.
type dashboard struct {
	SchemaVersion int     `json:"schemaVersion"`
	UID           string  `json:"uid"`
	ID            *int    `json:"id"`
	Panels        []panel `json:"panels"`
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any
		} `json:"list"`
	} `json:"templating"`
}

type panel struct {
	ID         int        `json:"id"`
	Type       string     `json:"type"`
	Title      string     `json:"title"`
	Datasource datasource `json:"datasource"`
	GridPos    rectangle  `json:"gridPos"`
	Targets    []target   `json:"targets"`
}

type target struct {
	Expr       string     `json:"expr"`
	RefID      string     `json:"refId"`
	Datasource datasource `json:"datasource"`
}

type datasource struct{ Type, UID string }

type rectangle struct{ X, Y, W, H int }

func (r rectangle) overlaps(o rectangle) bool {
	return r.X < o.X+o.W && o.X < r.X+r.W && r.Y < o.Y+o.H && o.Y < r.Y+r.H
}

func dashboardOf(t testing.TB) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, "deploy", "grafana", "dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDashboard_CanBeImported: into any Grafana, for any data source and fleet.
func TestDashboard_CanBeImported(t *testing.T) {
	d := dashboardOf(t)
	if d.SchemaVersion < 39 || d.UID == "" || d.ID != nil {
		t.Errorf("schema version %d, uid %q, id %v: it is of another Grafana", d.SchemaVersion, d.UID, d.ID)
	}
	variables := map[string]string{}
	for _, v := range d.Templating.List {
		variables[v.Name] = v.Type
	}
	if variables["datasource"] != "datasource" || variables["fleet"] != "query" || variables["instance"] != "query" {
		t.Errorf("variables %v", variables)
	}
	rows, ids := 0, map[int]string{}
	for i, p := range d.Panels {
		if ids[p.ID] != "" {
			t.Errorf("%s has the id of %s", p.Title, ids[p.ID])
		}
		ids[p.ID] = p.Title
		for _, o := range d.Panels[:i] {
			if p.GridPos.overlaps(o.GridPos) {
				t.Errorf("%s lies over %s", p.Title, o.Title)
			}
		}
		if p.Type == "row" {
			rows++
			continue
		}
		p.looksAtOneFleet(t)
	}
	if rows < 7 {
		t.Errorf("%d rows", rows)
	}
}

// looksAtOneFleet fails when a panel is not about the chosen data source and the replicas of the chosen fleet.
func (p panel) looksAtOneFleet(t *testing.T) {
	t.Helper()
	want := datasource{"prometheus", "${datasource}"}
	if p.Datasource != want || len(p.Targets) == 0 {
		t.Errorf("%s: data source %v, %d queries", p.Title, p.Datasource, len(p.Targets))
	}
	for _, target := range p.Targets {
		if target.Datasource != want || strings.Count(target.Expr, "{") != strings.Count(target.Expr, `{instance=~"$instance"`) {
			t.Errorf("%s: %s of %v", p.Title, target.Expr, target.Datasource)
		}
	}
}
