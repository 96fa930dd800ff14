package registry_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dshash"
)

func TestHash(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		x, err := registry.Hash[uint64, counts](ctx, a, "users", dshash.Options{Partitions: 8})
		if err != nil {
			t.Fatal(err)
		}
		is(t, "set", x.Set(ctx, 7, counts{1, 2}), nil)
		y, err := registry.Hash[uint64, counts](ctx, b, "users", dshash.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if v, ok, err := y.Get(ctx, 7); v != (counts{1, 2}) || !ok || err != nil {
			t.Error(v, ok, err)
		}
		if again, err := registry.Hash[uint64, counts](ctx, a, "users", dshash.Options{}); again != x || err != nil {
			t.Errorf("asked again: another table, %v", err)
		}
		type twin struct{ A, B int64 }
		z, err := registry.Hash[uint64, twin](ctx, a, "users", dshash.Options{}) // of the same layout
		if err != nil {
			t.Fatal(err)
		}
		if again, err := registry.Hash[uint64, counts](ctx, a, "users", dshash.Options{}); again != x || err != nil {
			t.Errorf("asked again, after another type: another table, %v", err)
		}
		if again, err := registry.Hash[uint64, twin](ctx, a, "users", dshash.Options{}); again != z || err != nil {
			t.Errorf("the other type asked again: another table, %v", err)
		}
		_, err = registry.Hash[uint64, uint64](ctx, b, "users", dshash.Options{})
		is(t, "another value", err, registry.ErrMismatch)
		want := "it is a hash of uint64 to registry_test.counts, version 0, and was asked for as a hash of " +
			"uint64 to uint64, version 0"
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		_, err = registry.Hash[uint64, counts](ctx, b, "users", dshash.Options{Version: 3})
		is(t, "another version", err, registry.ErrMismatch)
		_, err = registry.HashBytes(ctx, b, "users", dshash.Options{})
		is(t, "byte strings", err, registry.ErrMismatch)
		if got := list(t, a); len(got) != 1 || got[0] != "users hash v0 ready 2" {
			t.Errorf("%q", got)
		}
		is(t, "delete", registry.Delete(ctx, a, "users"), nil)
		if v, ok, err := y.Get(ctx, 7); v != (counts{1, 2}) || !ok || err != nil { // as long as it is attached
			t.Error(v, ok, err)
		}

		byBytes, err := registry.HashBytes(ctx, b, "users", dshash.Options{}, registry.Options{Version: 2})
		if err != nil {
			t.Fatal(err)
		}
		is(t, "set", byBytes.Set(ctx, []byte("key"), []byte("value")), nil)
		_, err = registry.HashBytes(ctx, a, "users", dshash.Options{})
		is(t, "another version", err, registry.ErrMismatch)
		byBytes, err = registry.HashBytes(ctx, a, "users", dshash.Options{Version: 2})
		if err != nil {
			t.Fatal(err)
		}
		if v, ok, err := byBytes.Get(ctx, []byte("key"), nil); string(v) != "value" || !ok || err != nil {
			t.Errorf("%q, %v, %v", v, ok, err)
		}
		is(t, "delete", registry.Delete(ctx, b, "users"), nil)
		is(t, "close", errors.Join(a.Close(), b.Close()), nil)
		instancetest.OnlyRoot(t, cfg)
	})
}

type counts struct{ A, B int64 }
