package registry_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// TestHashOfLimitedSize: the area of a named table has the options that its first caller gave.
func TestHashOfLimitedSize(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		const limit = 2 << 20
		first := registry.Options{Area: dsa.Options{Limit: limit}}
		x, err := registry.HashBytes(ctx, a, "cache", dshash.Options{Partitions: 8}, first)
		if err != nil {
			t.Fatal(err)
		}
		later := registry.Options{Area: dsa.Options{Limit: 1 << 40}}
		y, err := registry.HashBytes(ctx, b, "cache", dshash.Options{}, later)
		if err != nil {
			t.Fatal(err)
		}
		value := make([]byte, 1000)
		n := 0
		for ; n < limit && err == nil; n++ {
			err = y.Set(ctx, []byte{byte(n), byte(n >> 8), byte(n >> 16)}, value)
		}
		is(t, "a Set beyond the limit", err, dsa.ErrLimit)
		if n < limit/2/len(value) {
			t.Errorf("%d values of %d bytes fill %d", n, len(value), limit)
		}
		if got := x.Len(); got != n-1 {
			t.Errorf("%d entries, not %d", got, n-1)
		}
		_, err = registry.Hash[uint64, counts](ctx, a, "numbers", dshash.Options{}, registry.Options{Area: dsa.Options{Limit: -1}})
		is(t, "a limit that none can have", err, dsa.ErrSize)
		_, err = registry.Segment[counts](ctx, a, "x", nil, first)
		is(t, "a segment with an area", err, fs.ErrInvalid)
		_, err = registry.Area(ctx, a, "x", dsa.Options{}, first)
		is(t, "an area with another", err, fs.ErrInvalid)
		is(t, "delete", registry.Delete(ctx, a, "cache"), nil)
		is(t, "close", errors.Join(a.Close(), b.Close()), nil)
		instancetest.OnlyRoot(t, cfg)
	})
}
