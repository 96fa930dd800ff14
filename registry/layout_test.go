package registry

import (
	"reflect"
	"testing"

	"github.com/godsm/godsm/internal/testing/layouttest"
)

func TestLayout(t *testing.T) {
	layouttest.Check(t, "Names' header (320 bytes", reflect.TypeFor[header]())
	layouttest.Check(t, "Name (224 bytes", reflect.TypeFor[record]())
	if h, r := reflect.TypeFor[header]().Size(), reflect.TypeFor[record]().Size(); h != headerSize || r != recordSize {
		t.Errorf("a header of %d bytes, a record of %d", h, r)
	}
}
