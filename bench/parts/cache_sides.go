package parts

import (
	"encoding/binary"
	"fmt"

	"github.com/VictoriaMetrics/fastcache"
	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/server"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/maypok86/otter/v2"
)

// cacheSide is a cache that is compared.
type cacheSide interface {
	// Get appends the value of key to dst.
	Get(key, dst []byte) (value []byte, found bool, err error)
	Set(key, value []byte) error
	Close() error
}

// openCache returns an empty cache with about limit bytes for entries of a key of 16 bytes and a value of 200.
func openCache(name string, limit int) (cacheSide, error) {
	switch name {
	case figure.Ours:
		return newOurs(limit)
	case "dshash.Bytes":
		w, heap, err := newArea()
		if err != nil {
			return nil, err
		}
		t, err := dshash.CreateBytes(heap, dshash.Options{})
		return &hashSide{w, heap, t}, err
	case "otter":
		c, err := otter.New(&otter.Options[[16]byte, []byte]{MaximumSize: limit / (16 + cacheValue + 50)})
		return otterSide{c}, err
	case "fastcache":
		return fastSide{fastcache.New(limit)}, nil
	}
	s, err := server.Start(name, 2*limit>>20)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// cacheKey returns the key with number k, printable, as servers want it.
func cacheKey(buf *[16]byte, k int) []byte {
	const digits = "0123456789abcdef"
	x := uint64(k) * 0x9e37_79b9_7f4a_7c15
	for i := range buf {
		buf[i] = digits[x>>(4*i)&15]
	}
	return buf[:]
}

// fill sets the keys from from on.
func fill(c cacheSide, from, n int) error {
	var buf [16]byte
	value := make([]byte, cacheValue)
	for k := range n {
		binary.LittleEndian.PutUint64(value, uint64(from+k))
		if err := c.Set(cacheKey(&buf, from+k), value); err != nil {
			return err
		}
	}
	return nil
}

// getLoop gets random keys of the first n, all of which are there.
func getLoop(c cacheSide, n int, rnd xorshift) func(int) error {
	buf, dst := new([16]byte), make([]byte, 0, 2*cacheValue)
	return func(times int) error {
		for range times {
			k := rnd.below(n)
			v, found, err := c.Get(cacheKey(buf, k), dst)
			if err != nil {
				return err
			}
			if !found || len(v) != cacheValue || binary.LittleEndian.Uint64(v) != uint64(k) {
				return fmt.Errorf("key %d: found %v, %d bytes", k, found, len(v))
			}
		}
		return nil
	}
}

type hashSide struct {
	w    *world
	heap *dsa.Area
	*dshash.Bytes
}

func (h *hashSide) Get(key, dst []byte) ([]byte, bool, error) { return h.Bytes.Get(ctx, key, dst) }
func (h *hashSide) Set(key, value []byte) error               { return h.Bytes.Set(ctx, key, value) }
func (h *hashSide) Close() error                              { return h.w.end() }

type otterSide struct {
	c *otter.Cache[[16]byte, []byte]
}

func (o otterSide) Get(key, dst []byte) ([]byte, bool, error) {
	v, found := o.c.GetIfPresent([16]byte(key))
	return append(dst, v...), found, nil
}

func (o otterSide) Set(key, value []byte) error {
	o.c.Set([16]byte(key), append([]byte(nil), value...))
	return nil
}

func (o otterSide) Close() error { o.c.StopAllGoroutines(); return nil }

type fastSide struct{ c *fastcache.Cache }

func (f fastSide) Get(key, dst []byte) ([]byte, bool, error) {
	v, found := f.c.HasGet(dst, key)
	return v, found, nil
}

func (f fastSide) Set(key, value []byte) error { f.c.Set(key, value); return nil }

func (f fastSide) Close() error { f.c.Reset(); return nil }
