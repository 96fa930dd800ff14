package mq

import (
	"reflect"
	"testing"

	"github.com/godsm/godsm/internal/testing/layouttest"
)

// TestLayout compares the tables of doc/structures.md with the code.
func TestLayout(t *testing.T) {
	layouttest.Check(t, "Queue header (320 bytes", reflect.TypeFor[header]())
	layouttest.Check(t, "Side (128 bytes", reflect.TypeFor[side]())
	if n := reflect.TypeFor[header]().Size(); n != HeaderSize {
		t.Errorf("the header has %d bytes, not %d", n, HeaderSize)
	}
}
