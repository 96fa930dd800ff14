package mq

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestLayout compares the tables of doc/design.md with the code.
func TestLayout(t *testing.T) {
	text, err := os.ReadFile("../../doc/design.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, typ := range map[string]reflect.Type{"Queue header (320 bytes": reflect.TypeFor[header](), "Side (128 bytes": reflect.TypeFor[side]()} {
		want := "|---:|---:|---|\n"
		for f := range typ.Fields() {
			if f.Name != "_" {
				want += fmt.Sprintf("| %d | %d | %s |\n", f.Offset, f.Type.Size(), f.Name)
			}
		}
		_, after, found := strings.Cut(string(text), "\n"+heading)
		if table, _, _ := strings.Cut(after, "\n\n-"); !found || !strings.Contains(table+"\n", want) {
			t.Errorf("%s: the document does not say\n%s", heading, want)
		}
	}
	if n := reflect.TypeFor[header]().Size(); n != HeaderSize {
		t.Errorf("the header has %d bytes, not %d", n, HeaderSize)
	}
}
