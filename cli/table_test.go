package main

import (
	"bytes"
	"testing"
)

func TestTable_ColumnsNeverGetNarrower(t *testing.T) {
	var out bytes.Buffer
	tbl := newTable(&out, "NAME", "N")
	for _, rows := range [][][]string{{{"a-long-name", "1"}}, {{"b", "22"}}} {
		if err := tbl.print(rows); err != nil {
			t.Fatal(err)
		}
	}
	want := "NAME          N\na-long-name   1\nb             22\n"
	if out.String() != want {
		t.Errorf("table printed\n%swant\n%s", out.String(), want)
	}
}
