package locktable

import (
	"reflect"
	"testing"

	"github.com/godsm/godsm/internal/testing/layouttest"
)

func TestLayout(t *testing.T) {
	if n := reflect.TypeFor[head]().Size(); n != headSize {
		t.Errorf("a head has %d bytes", n)
	}
	layouttest.CheckIn(t, "locktable.md", "Table (", reflect.TypeFor[root]())
	layouttest.CheckIn(t, "locktable.md", "Partition (", reflect.TypeFor[part]())
	layouttest.CheckIn(t, "locktable.md", "Head (128 bytes", reflect.TypeFor[head]())
	layouttest.CheckIn(t, "locktable.md", "Seat (", reflect.TypeFor[seat]())
}

func TestPathsComeBack(t *testing.T) {
	digest := "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, path := range [][]string{
		{"a"}, {"layers", digest}, {digest}, {digest, digest, digest, digest}, {digest[:70]}, {digest + "0"}, {"\x00"},
		{"sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"}, {string(make([]byte, MaxPart))},
		{"sha256:0123456789abcdeg0123456789abcdef0123456789abcdef0123456789abcdef"},
	} {
		k, err := encode(nil, path)
		if err != nil || !reflect.DeepEqual(k.path(), path) {
			t.Errorf("%q is %q (%v)", path, k.path(), err)
		}
	}
	for _, path := range [][]string{nil, {""}, {"a", ""}, {"a", "b", "c", "d", "e"}, {string(make([]byte, MaxPart+1))}} {
		if _, err := encode(nil, path); err == nil {
			t.Errorf("%q is a path", path)
		}
	}
	if k, err := encode(nil, []string{"layers", digest}); err != nil || len(k.b) > inline {
		t.Errorf("layers and a digest have %d bytes", len(k.b))
	}
}
