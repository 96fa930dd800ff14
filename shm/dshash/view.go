package dshash

import "github.com/godsm/godsm/shm/dsa"

// What this process remembers of where a partition's arrays are mapped, so that a lookup need not translate their
// pointers.
//
// A view is immutable. It is right as long as the partition's rebuilds and the area's Returned are what they were
// when it was made: then no array was replaced, and no segment was unmapped. A view does not say what the arrays
// contain, and keeps nothing mapped; a lookup without the lock validates the partition's version besides.

// view is a partition's arrays as they are mapped in this process. Goroutines share it by core.seen, and none of
// them changes it.
type view struct {
	// rebuilds is what the partition's rebuilds was, and even. As long as it is the same, the view's arrays are the
	// partition's.
	rebuilds uint64
	// returned is what the area's Returned was. If that is another now, a segment went back, and an array may be
	// unmapped.
	returned uint64
	// lines are the array's; none before the first entry.
	lines []line
	// busy is nil if no change of the arrays was under way when the view was made.
	busy *busy
	// A view is a cache line, and begins at one, since it is allocated in this size.
	_ [16]byte
}

// busy is what a view has besides the array while the arrays are being changed. It is apart, so that a lookup reads one
// cache line of a view most of the time. It has no old array while next is being cleared, and once that is retired.
type busy struct{ old []line }

// oldLines returns the lines of the old array; none if there is no old array.
func (v *view) oldLines() []line {
	if v.busy == nil {
		return nil
	}
	return v.busy.old
}

// nothing is the view of a partition without entries.
var nothing view

// current reports whether the partition's arrays are still those of the view, and still mapped. Returned is what the
// area's Returned is now. It may be wrong one instruction later unless the caller holds the partition's lock. A nil view
// is not current.
func (v *view) current(p *partition, returned uint64) bool {
	return v != nil && (v.rebuilds^p.rebuilds.Load())|(v.returned^returned) == 0
}

// knownView returns the view of partition i that this process made last, and reports whether it is still current. A
// partition without an array needs no view: it is empty. The caller need not hold a lock, and validates the
// partition's version afterwards.
func (t *core) knownView(i int) (v *view, ok bool) {
	p := &t.parts[i]
	if v := t.seen[i].Load(); v.current(p, t.area.Returned()) {
		return v, true
	}
	return &nothing, p.array.Load() == 0
}

// lockedView returns the view of partition i for a caller that holds the partition's lock, shared or exclusive, so that
// the view is current until the caller itself changes the arrays. It may attach a segment of the area. An array that
// is none is ErrCorrupt.
func (t *core) lockedView(i int) (*view, error) {
	if v := t.seen[i].Load(); v.current(&t.parts[i], t.area.Returned()) {
		return v, nil
	}
	return t.remakeView(i)
}

// remakeView makes the view of partition i and remembers it. The caller holds the partition's lock. Two goroutines
// that hold it shared may do so at once: they store equal views.
func (t *core) remakeView(i int) (*view, error) {
	v, err := t.makeView(i, (*core).bytesAt)
	if err != nil {
		return nil, err
	}
	t.seen[i].Store(v)
	return v, nil
}

// viewUnlocked makes the view of partition i without the lock, if the arrays lie in segments that are mapped here, and
// reports whether it could. Seen is the version that the caller has found: if version and rebuilds are the same
// afterwards, what was read in between was the arrays' own, and not that of memory which has been freed and used
// again.
func (t *core) viewUnlocked(i int, seen uint64) (*view, bool) {
	v, err := t.makeView(i, (*core).peekAt)
	if p := &t.parts[i]; err != nil || p.rebuilds.Load() != v.rebuilds || p.version.Load() != seen {
		return nil, false
	}
	t.seen[i].Store(v)
	return v, true
}

// makeView makes a view of the arrays of partition i, whose bytes it gets by the function bytes: core.bytesAt if the
// caller holds the partition's lock, core.peekAt if not. Returned is loaded first, so that a segment that goes back in
// between makes the view one that is not current. A partition whose rebuilds is odd is ErrCorrupt: for a holder of the
// lock that is what a stray store has left, and a caller without the lock gives up.
func (t *core) makeView(i int, bytes func(*core, dsa.Pointer) ([]byte, error)) (v *view, err error) {
	returned := t.area.Returned()
	if err := t.area.Current(); err != nil {
		return nil, err
	}
	p := &t.parts[i]
	v = &view{rebuilds: p.rebuilds.Load(), returned: returned}
	if v.rebuilds&1 != 0 {
		return nil, corrupt("the arrays of partition %d are being stored", i)
	}
	v.lines, err = t.linesAt(dsa.Pointer(p.array.Load()), bytes)
	if err == nil && p.resizing() {
		v.busy = new(busy)
		v.busy.old, err = t.linesAt(dsa.Pointer(p.old.Load()), bytes)
	}
	return v, err
}
