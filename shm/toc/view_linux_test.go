package toc_test

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/internal/testing/viewtest"
	"github.com/godsm/godsm/shm/toc"
)

// tocCalls are all that touch a table's bytes.
func tocCalls(b *viewtest.Bytes, t *toc.Toc) map[string]func() error {
	return map[string]func() error{
		"Create":   func() error { _, err := toc.Create(b.Region, 7); return ignore(err, toc.ErrExists) },
		"Attach":   func() error { _, err := toc.Attach(b.Region, 7); return err },
		"Free":     func() error { _, err := t.Free(); return err },
		"Allocate": func() error { _, err := t.Allocate(10); return err },
		"Insert": func() error {
			off, err := t.Allocate(10)
			if err != nil {
				return err
			}
			return t.Insert(uint64(off), off, 10)
		},
		"Lookup":   func() error { _, err := t.Lookup(1); return err },
		"Put":      func() error { _, err := toc.Put[uint64](t, 2, nil); return ignore(err, toc.ErrExists) },
		"PutSlice": func() error { _, err := toc.PutSlice[uint64](t, 3, 4, nil); return ignore(err, toc.ErrExists) },
		"Get":      func() error { _, err := toc.Get[uint64](t, 1); return err },
		"GetSlice": func() error { _, err := toc.GetSlice[uint64](t, 1); return err },
	}
}

func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}

func newTable(t testing.TB) (*viewtest.Bytes, *toc.Toc) {
	b := viewtest.New(t, 1<<14)
	c, err := toc.Create(b.Region, 7)
	if err == nil {
		_, err = toc.Put(c, 1, func(v *uint64) error { *v = 42; return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	return b, c
}

func TestAfterTheEnd(t *testing.T) {
	for _, checked := range []bool{false, true} {
		b, c := newTable(t)
		if checked {
			b.EndChecked()
		} else {
			b.End()
		}
		for name, call := range tocCalls(b, c) {
			if err := call(); !errors.Is(err, toc.ErrClosed) {
				t.Errorf("checked %v: %s = %v", checked, name, err)
			}
		}
	}
}

// TestEndWhileInUse: 4 goroutines use a table while its view ends.
func TestEndWhileInUse(t *testing.T) {
	for range 100 {
		b, c := newTable(t)
		done := make(chan struct{})
		for i := range 4 {
			go func() {
				defer func() { done <- struct{}{} }()
				for n := 0; ; n++ {
					for name, call := range tocCalls(b, c) {
						err := call()
						if errors.Is(err, toc.ErrClosed) {
							return
						}
						if err != nil && !errors.Is(err, toc.ErrFull) {
							t.Errorf("%s = %v", name, err)
						}
					}
					if i == 0 && n == 3 {
						b.End()
					}
				}
			}()
		}
		for range 4 {
			<-done
		}
	}
}
