package logcache_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/logcache"
	"github.com/godsm/godsm/shm/shmsync"
)

var ctx = context.Background()

func TestMain(m *testing.M) { proctest.Main(m) }

// self is a session in a world where all are alive.
func self(row int) shmsync.Self {
	return shmsync.Self{Peer: shmsync.Peer{Row: row, Incarnation: 1}, Alive: func(shmsync.Peer) bool { return true }}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// heap is a cache in ordinary memory.
func heap(t testing.TB, limit int, o logcache.Options) *logcache.Cache {
	t.Helper()
	words := make([]uint64, limit/8)
	c, err := logcache.Create(shm.NewRegion(logcache.BytesOf(words)), self(1), o)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

func name(k int) []byte { return fmt.Appendf(nil, "key:%012d", k) }

// text is a value of key k that shows whether it is whole and whose it is.
func text(k, generation, n int) []byte {
	b := make([]byte, max(n, 12))
	binary.LittleEndian.PutUint32(b[4:], uint32(k))
	binary.LittleEndian.PutUint32(b[8:], uint32(generation))
	for i := 12; i < len(b); i++ {
		b[i] = byte(k + generation*7 + i)
	}
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	return b
}

// check reports what is wrong with a value of key k.
func check(k int, b []byte) error {
	if len(b) < 12 || binary.LittleEndian.Uint32(b) != crc32.ChecksumIEEE(b[4:]) {
		return fmt.Errorf("key %d: torn: %d bytes", k, len(b))
	}
	if of := binary.LittleEndian.Uint32(b[4:]); of != uint32(k) {
		return fmt.Errorf("key %d has the value of key %d", k, of)
	}
	return nil
}

// clean verifies the cache.
func clean(t testing.TB, c *logcache.Cache) logcache.Report {
	t.Helper()
	r, err := c.Verify(ctx)
	must(t, err)
	for _, w := range r.Wrong {
		t.Error(w)
	}
	return r
}

// dice gives numbers in any order.
type dice uint64

func (d *dice) below(n int) int {
	*d ^= *d << 13
	*d ^= *d >> 7
	*d ^= *d << 17
	return int(uint64(*d>>32) * uint64(n) >> 32)
}
