package main

import (
	"strings"
	"testing"
)

func row(name string, cells ...string) item {
	return item{name: name, row: append([]string{name}, cells...)}
}

func names(items []item) string {
	var out []string
	for _, it := range items {
		out = append(out, strings.Join(it.row, ":"))
	}
	return strings.Join(out, " ")
}

func TestChanged_ShowsOnlyWhatDiffers(t *testing.T) {
	known := map[string]item{}
	for _, step := range []struct {
		items []item
		want  string
	}{
		{[]item{row("a", "1", "3s ago"), row("b", "1", "never")}, "a:1:3s ago b:1:never"},
		{[]item{row("a", "1", "4s ago"), row("b", "1", "never")}, ""},
		{[]item{row("a", "2", "5s ago"), row("b", "1", "never")}, "a:2:5s ago"},
		{[]item{row("b", "1", "never")}, "a:<gone>:"},
		{[]item{row("a", "1", "1s ago"), row("b", "1", "never")}, "a:1:1s ago"},
	} {
		if got := names(changed(known, step.items)); got != step.want {
			t.Errorf("changed = %q, want %q", got, step.want)
		}
	}
}
