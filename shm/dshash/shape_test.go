package dshash_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

func TestKeys(t *testing.T) {
	a := heap(t, dsa.Options{})
	for _, c := range []struct {
		name string
		make func() error
		want string // in the error; empty for none
	}{
		{"number", try[int32, uint64](a), ""},
		{"bool", try[bool, uint64](a), ""},
		{"array", try[[3]uint16, float64](a), ""},
		{"struct", try[struct {
			A uint32
			B [2]uint16
		}, uint8](a), ""},
		{"set", try[uint64, struct{}](a), ""},
		{"padding before", try[struct {
			A uint8
			B uint32
		}, uint8](a), "padding before the field B"},
		{"padding behind", try[struct {
			A uint32
			B uint8
		}, uint8](a), "padding at its end"},
		{"deep padding", try[[2]struct {
			P struct {
				A uint16
				B uint8
			}
		}, uint8](a), ".P is a struct"},
		{"float", try[struct{ X float64 }, uint8](a), "math.Float64bits"},
		{"blank", try[struct {
			A uint32
			_ uint32
		}, uint8](a), "blank field of 4 bytes"},
		{"string", try[string, uint8](a), "can't lie in shared memory"},
		{"pointer in value", try[uint8, *int32](a), "can't lie in shared memory"},
		{"empty", try[struct{}, uint8](a), "at least 1"},
	} {
		if err := c.make(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to say %q", c.name, err, c.want)
		}
	}
	clean(t, a, 0)
}

func try[K comparable, V any](a *dsa.Area) func() error {
	return func() error {
		tab, err := dshash.Create[K, V](a, dshash.Options{Partitions: 1})
		if err != nil {
			return err
		}
		var k K
		var v V
		if err := tab.Set(ctx, k, v); err != nil {
			return err
		}
		e, found, err := tab.Find(ctx, k)
		if err != nil || !found || e.Key() != k {
			return errors.Join(errors.New("not found"), err)
		}
		_ = *e.Value()
		e.Release()
		return tab.Destroy(ctx)
	}
}

func TestAttach(t *testing.T) {
	a := heap(t, dsa.Options{})
	type account struct{ Balance, Limit uint32 }
	tab, err := dshash.Create[uint64, account](a, dshash.Options{Version: 3, Partitions: 4})
	must(t, err)
	v3 := dshash.Options{Version: 3}
	_, same := dshash.Attach[uint64, struct{ Balance, Limit uint32 }](a, tab.Handle(), v3)
	_, version := dshash.Attach[uint64, account](a, tab.Handle(), dshash.Options{})
	_, key := dshash.Attach[uint32, account](a, tab.Handle(), v3)
	_, value := dshash.Attach[uint64, [9]byte](a, tab.Handle(), v3)
	_, order := dshash.Attach[uint64, struct{ Limit, Balance uint32 }](a, tab.Handle(), v3)
	_, signed := dshash.Attach[int64, account](a, tab.Handle(), v3)
	_, kind := dshash.AttachBytes(a, tab.Handle(), v3)
	p, err := a.AllocZeroed(100_000)
	must(t, err)
	_, nothing := dshash.Attach[uint64, account](a, p, v3)
	small, err := a.Alloc(16)
	must(t, err)
	_, short := dshash.Attach[uint64, account](a, small, v3)
	must(t, a.Free(p))
	must(t, a.Free(small))
	_, freed := dshash.Attach[uint64, account](a, p, v3)
	must(t, tab.Destroy(ctx))
	_, destroyed := dshash.Attach[uint64, account](a, tab.Handle(), v3)
	_, partitions := dshash.CreateBytes(a, dshash.Options{Partitions: 3})
	for _, c := range []struct {
		name string
		err  error
		want error
		say  string
	}{
		{"the same shape", same, nil, ""},
		{"another version", version, dshash.ErrMismatch, "Options.Version is 0x3, and 0x0"},
		{"another key", key, dshash.ErrMismatch, "size of keys is 0x8, and 0x4"},
		{"another value", value, dshash.ErrMismatch, "size of values is 0x8, and 0x9"},
		{"another order", order, dshash.ErrMismatch, "layout"},
		{"another sign", signed, dshash.ErrMismatch, "layout"},
		{"another kind", kind, dshash.ErrMismatch, "kind"},
		{"zeros", nothing, dshash.ErrCorrupt, "no table begins"},
		{"too short", short, dshash.ErrCorrupt, ""},
		{"freed", freed, dsa.ErrPointer, ""},
		{"destroyed", destroyed, dsa.ErrPointer, ""},
		{"partitions", partitions, dshash.ErrSize, "power of two"},
	} {
		if err := c.err; !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	clean(t, a, 0)
}
