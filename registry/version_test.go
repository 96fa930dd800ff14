package registry_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
)

// TestOtherVersion: a table of names of another layout version is ErrVersion, with both versions, for all that ask
// there; a root segment that holds no names is ErrCorrupt.
func TestOtherVersion(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	a := instancetest.Open(t, cfg)
	if _, err := registry.Segment(ctx, a, "x", initOnce); err != nil {
		t.Fatal(err)
	}
	root, err := a.Root(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	word, err := root.Region().Bytes(0, 8)
	if err != nil {
		t.Fatal(err)
	}
	is := binary.NativeEndian.Uint64(word)
	for _, c := range []struct {
		name string
		word uint64
		want error
		says string
	}{
		{"older", is&^0xffffffff | 1, dsm.ErrVersion, "version 1, from a program that is older than this one, which has " +
			"version 3: upgrade the program of"},
		{"newer", is&^0xffffffff | 4, registry.ErrVersion, "version 4, from a program that is newer than this one, which " +
			"has version 3: upgrade this program, or stop"},
		{"no names", 7, dsm.ErrCorrupt, "does not hold the names"},
	} {
		binary.NativeEndian.PutUint64(word, c.word)
		b := instancetest.Open(t, cfg)
		for what, f := range map[string]func() error{
			"Segment": func() error { _, err := registry.Segment(ctx, b, "x", initOnce); return err },
			"List":    func() error { _, err := registry.List(ctx, b); return err },
			"Delete":  func() error { return registry.Delete(ctx, b, "x") },
			"Names": func() error {
				r, err := dsm.Inspect(ctx, cfg)
				if err == nil {
					_, err = registry.Names(r)
				}
				return err
			},
		} {
			if err := f(); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %s = %v, want %v", c.name, what, err, c.want)
			}
		}
		if err := b.Close(); err != nil {
			t.Errorf("%s: Close = %v", c.name, err)
		}
	}
	binary.NativeEndian.PutUint64(word, is)
	if _, err := registry.Segment(ctx, a, "x", initOnce); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
