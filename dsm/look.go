package dsm

import (
	"context"
	"errors"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/sys/fault"
)

// Look reads a report as Inspect does, and calls f with it and with a function that maps segments. Bytes maps a segment
// for reading alone, without a reference to it, until f returns.
//
// Other processes write and free what f reads while it does, so f checks everything that it loads. A handle that is not
// live is ErrNotFound. A load from bytes that are gone, as when a segment is truncated, is Look's error, which matches
// ErrCorrupt. Look joins nothing and takes no lock.
func Look(ctx context.Context, cfg Config, f func(r Report, bytes func(Handle) ([]byte, error)) error) error {
	return wrapErr("look", 0, "", look(ctx, cfg, f))
}

// look does what Look does, without the Error around the error.
func look(ctx context.Context, cfg Config, f func(r Report, bytes func(Handle) ([]byte, error)) error) error {
	path, backends, set, err := cfg.resolveToLook()
	if err != nil {
		return err
	}
	dir, err := instance.OpenDir(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	books, err := dir.Look(ctx, backends, set)
	if err != nil {
		return err
	}
	defer books.Close()
	r, err := report(books)
	if err != nil {
		return err
	}
	r.Root = rootOf(ctx, books, r.Segments)
	var maps []dsmimpl.Mapping
	defer func() {
		for _, m := range maps {
			_ = books.Unmap(m)
		}
	}()
	// Mapped for reading, so that a defect of f can't change the instance. The row is read at each call: the segment
	// may have been made after the report.
	bytes := func(h Handle) ([]byte, error) {
		s, err := books.Table.Segment(uint64(h))
		switch {
		case errors.Is(err, control.ErrNotFound) || err == nil && !s.Sound:
			return nil, errkind.As(ErrNotFound, errors.New("the instance has no such segment now"))
		case err != nil:
			return nil, err
		}
		m, err := books.Map(ctx, s.Entry, dsmimpl.ReadOnly)
		if err != nil {
			return nil, err
		}
		maps = append(maps, m)
		return instance.Part(m, &s.Entry), nil
	}
	return fault.Contain(func() error { return f(r, bytes) })
}
