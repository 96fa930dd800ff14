package cache

import (
	"reflect"
	"testing"

	"github.com/godsm/godsm/internal/testing/layouttest"
)

// TestLayout compares the tables of doc/cache.md, and the constants, with the types.
func TestLayout(t *testing.T) {
	layouttest.CheckIn(t, "cache.md", "Head (64 bytes", reflect.TypeFor[head]())
	layouttest.CheckIn(t, "cache.md", "Counts (144 bytes", reflect.TypeFor[row]())
	if h, r := reflect.TypeFor[head]().Size(), reflect.TypeFor[row]().Size(); h != headSize || r != rowSize {
		t.Errorf("a head of %d bytes, a row of %d", h, r)
	}
	for _, size := range []int{MinLimit, 3 << 20, 64 << 20, 1 << 30} {
		n, at := rowsOf(size)
		if n < leastRows || n > mostRows || at < headSize+n*rowSize || at%pageSize != 0 || at > size/200+pageSize {
			t.Errorf("%d bytes: %d rows, and the engine begins at %d", size, n, at)
		}
	}
}
