package dsm_test

import (
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// native are those of the backends that this system has.
func native(backends ...string) []string {
	return slices.DeleteFunc(backends, func(b string) bool { return !slices.Contains(catalog.Native(), b) })
}

// TestTruncated: what another process's truncation takes away is an error, not the end of the process.
func TestTruncated(t *testing.T) {
	for _, backend := range native("posix", "mmap") {
		t.Run(backend, func(t *testing.T) {
			cfg := instancetest.Config(t, backend)
			instancetest.Start(t, cfg)
			s := instancetest.Open(t, cfg)
			page := os.Getpagesize()
			g := create(t, s, 4*page)
			i, _ := info(t, s, g.Handle())
			if err := os.Truncate(i.OSName, int64(page)); err != nil {
				t.Skipf("skipped: %s can't be truncated by its path: %v", i.OSName, err)
			}
			err := g.With(func(b []byte) error { b[2*page] = 1; return nil })
			wantErr(t, "With on what is gone", err, dsm.ErrCorrupt)
			if err == nil || !strings.Contains(err.Error(), "truncated") {
				t.Errorf("%v does not say why", err)
			}
			if !strings.Contains(err.Error(), "byte "+strconv.Itoa(2*page)+" ") {
				t.Errorf("%v does not say which byte", err)
			}
			_, err = g.ReadAt(make([]byte, 1), int64(3*page))
			wantErr(t, "ReadAt of what is gone", err, dsm.ErrCorrupt)
			n, err := g.WriteAt([]byte("x"), int64(3*page))
			wantErr(t, "WriteAt on what is gone", err, dsm.ErrCorrupt)
			if n != 0 {
				t.Errorf("WriteAt wrote %d bytes", n)
			}
			if _, err := g.WriteAt([]byte("x"), 0); err != nil {
				t.Errorf("WriteAt on what is left: %v", err)
			}
		})
	}
}

var sink byte

func TestCheckedModeCatchesStaleSlices(t *testing.T) {
	for _, reserved := range []string{"0", "1MB"} {
		catchStaleSlices(t, reserved)
	}
}

func catchStaleSlices(t *testing.T, reserved string) {
	for _, backend := range catalog.Native() {
		t.Run(backend+"/"+reserved, func(t *testing.T) {
			cfg := instancetest.Config(t, backend, "checked", "on", "min_dynamic_shared_memory", reserved)
			instancetest.Start(t, cfg)
			s := instancetest.Open(t, cfg)
			g := create(t, s, 5000)
			if i, _ := info(t, s, g.Handle()); i.Reserved != (reserved != "0") {
				t.Errorf("%+v", i)
			}
			again := attach(t, s, g.Handle())
			if &again.Bytes()[0] == &g.Bytes()[0] {
				t.Fatal("in checked mode each Attach has its own mapping")
			}
			kept := g.Bytes()
			_ = g.Detach()
			for range 20 {
				create(t, s, 5000) // would be mapped where g was
			}
			func() {
				defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
				defer func() {
					if recover() == nil {
						t.Error("a slice kept past Detach could be read")
					}
				}()
				sink = kept[0]
			}()
			again.Bytes()[4999] = 1
			kept = again.Bytes()
			if err := s.Close(); err != nil { // a later session maps where this one had
				t.Fatal(err)
			}
			next := instancetest.Open(t, cfg)
			for range 20 {
				create(t, next, 5000)
			}
			func() {
				defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
				defer func() {
					if recover() == nil {
						t.Error("a slice kept past Close could be read")
					}
				}()
				sink = kept[0]
			}()
		})
	}
}

// line is the file and line that calls it.
func line() string {
	_, file, n, _ := runtime.Caller(1)
	return file + ":" + strconv.Itoa(n)
}

// TestCheckedModeNamesSites: errors name the lines that attached and detached, whatever way the attachment ended.
func TestCheckedModeNamesSites(t *testing.T) {
	for _, reserved := range []string{"0", "1MB"} {
		t.Run(reserved, func(t *testing.T) { nameSites(t, reserved) })
	}
}

func nameSites(t *testing.T, reserved string) {
	cfg := instancetest.Config(t, catalog.Default(), "checked", "on", "min_dynamic_shared_memory", reserved)
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	says := func(what string, err error, want ...string) {
		t.Helper()
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s = %v, want it to say %q", what, err, w)
			}
		}
	}
	noop := func([]byte) error { return nil }

	created := func(g *dsm.Segment, err error) *dsm.Segment {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	g, attached := created(s.Create(ctx, s.Owner(), 100)), "attached at "+line()
	kept := g.Bytes()
	_, detached := g.Detach(), "detached at "+line()
	wantErr(t, "With", g.With(noop), dsm.ErrClosed)
	_, rerr := g.ReadAt(make([]byte, 1), 0)
	_, werr := g.WriteAt(make([]byte, 1), 0)
	for what, err := range map[string]error{
		"With": g.With(noop), "ReadAt": rerr, "WriteAt": werr,
		"Pin": g.Pin(ctx), "MoveTo": g.MoveTo(s.Owner()),
	} {
		says(what, err, attached, detached)
		wantErr(t, what, err, dsm.ErrClosed)
	}

	// A slice kept too long, used in another segment's With.
	other := create(t, s, 100)
	err := other.With(func([]byte) error { sink = kept[7]; return nil })
	says("With", err, "byte 7 of segment "+g.Handle().String(), attached, detached)
	wantErr(t, "With", err, dsm.ErrClosed)

	// An attachment that ended with its owner: the line that ended the owner.
	owner, err := s.Owner().Child("child")
	if err != nil {
		t.Fatal(err)
	}
	if g, err = s.Attach(ctx, owner, other.Handle()); err != nil {
		t.Fatal(err)
	}
	_, detached = owner.Abort(), "detached at "+line()
	says("With after the owner's end", g.With(noop), detached)

	if runtime.GOOS != "linux" {
		return // only there can it be truncated by its path
	}
	// A truncated object.
	i, _ := info(t, s, other.Handle())
	path, _, _ := strings.Cut(i.OSName, " at byte ")
	last := create(t, s, 100)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "With", other.With(func(b []byte) error { b[0] = 1; return nil }), dsm.ErrCorrupt)
	says("With", other.With(func(b []byte) error { b[0] = 1; return nil }), "(attached at ", "truncated")
	err = other.With(func(b []byte) error {
		_, detached = other.Detach(), "detached at "+line()
		b[0] = 1
		return nil
	})
	says("With after a Detach in it", err, detached)
	_, detached = s.Close(), "detached at "+line()
	says("With after Close", last.With(noop), detached)
}
