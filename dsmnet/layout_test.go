package dsmnet

import (
	"reflect"
	"testing"

	"github.com/godsm/godsm/internal/testing/layouttest"
)

func TestLayout(t *testing.T) {
	layouttest.Check(t, "Port (1552 bytes", reflect.TypeFor[port]())
	layouttest.Check(t, "Place (24 bytes", reflect.TypeFor[place]())
	if p, x := reflect.TypeFor[port]().Size(), reflect.TypeFor[place]().Size(); p != 1552 || x != 24 {
		t.Errorf("a port of %d bytes, a place of %d", p, x)
	}
}
