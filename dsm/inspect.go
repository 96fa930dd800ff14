package dsm

import (
	"context"

	"github.com/godsm/godsm/internal/instance"
)

// What people and monitors see of an instance. All of it is read without a lock and without changing anything, so that
// it works when the instance does not; the price is that two parts of a report may be of different moments.

// Report is an instance at one moment, as far as there is such a thing: it is read without a lock, while others change
// it. Each row is read as a whole or marked as Changed; two rows may be of different moments.
type Report struct {
	Status   Status
	Sessions []SessionInfo
	Segments []SegmentInfo
	// Root is a copy of the root segment's bytes, of Inspect and Look only; nil if there is none.
	Root []byte
}

// Inspect reads a report of the instance that runs in cfg.Dir from outside: it joins nothing and takes no lock. So it
// works with a full process table, and while a stopped process holds the control lock. Without an instance it is
// ErrNoInstance.
func Inspect(ctx context.Context, cfg Config) (Report, error) {
	r, err := inspect(ctx, cfg)
	return r, wrapErr("inspect", 0, "", err)
}

// inspect does what Inspect does, without the Error around the error.
func inspect(ctx context.Context, cfg Config) (Report, error) {
	path, backends, set, err := cfg.resolveToLook()
	if err != nil {
		return Report{}, err
	}
	dir, err := instance.OpenDir(path)
	if err != nil {
		return Report{}, err
	}
	defer dir.Close()
	books, err := dir.Look(ctx, backends, set)
	if err != nil {
		return Report{}, err
	}
	defer books.Close()
	r, err := report(books)
	if err == nil {
		r.Root = rootOf(ctx, books, r.Segments)
	}
	return r, err
}

// report reads all parts of a Report but the root.
func report(b *instance.Books) (r Report, err error) {
	processes, err := b.Table.Processes()
	if err != nil {
		return r, err
	}
	byRow := sessionsByRow(b, processes)
	r.Sessions = sessionInfos(processes, byRow)
	segments, err := b.Table.Segments()
	if err != nil {
		return r, err
	}
	r.Segments = segmentInfos(b, segments, byRow)
	r.Status, err = statusOf(b, processes)
	return r, err
}
