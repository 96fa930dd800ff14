package roster

import (
	"reflect"
	"testing"
)

func TestOffsets(t *testing.T) {
	field := func(typ reflect.Type, name string) int {
		f, _ := typ.FieldByName(name)
		return int(f.Offset)
	}
	h, c := reflect.TypeFor[header](), reflect.TypeFor[chair[uint64]]()
	if field(h, "rows") != rowsAt || field(h, "coming") != comingAt || field(c, "pages") != pagesAt || field(c, "coming") != comingPageAt {
		t.Error(field(h, "rows"), field(h, "coming"), field(c, "pages"), field(c, "coming"))
	}
}
