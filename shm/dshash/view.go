package dshash

import "github.com/godsm/godsm/shm/dsa"

// view is a partition's arrays as they are mapped here.
type view struct {
	rebuilds uint64 // what the partition's was, and even. As long as it is that, no other arrays can be meant
	returned uint64 // what the area's Returned was: if that is another now, an array may be unmapped
	lines    []line // of the array; none before the first entry
	busy     *busy  // nil if the arrays are not being changed
}

// busy is what there is beside the array while the arrays are being changed.
type busy struct{ old []line }

// old returns the old array, if there is one.
func (v *view) old() []line {
	if v.busy == nil {
		return nil
	}
	return v.busy.old
}

// nothing is the view of a partition without entries.
var nothing view

// current reports whether the partition's arrays are still those of the view.
func (v *view) current(p *partition, a *dsa.Area) bool {
	return v != nil && (v.rebuilds^p.rebuilds.Load())|(v.returned^a.Returned()) == 0
}

// known returns the view of partition i as it was seen last, if it is that still.
func (t *core) known(i int) (v *view, ok bool) {
	p := &t.parts[i]
	if v := t.local[i].seen.Load(); v.current(p, t.area) {
		return v, true
	}
	return &nothing, p.array.Load() == 0
}

// lines returns the view of partition i, under its lock.
func (t *core) lines(i int) (*view, error) {
	if v := t.local[i].seen.Load(); v.current(&t.parts[i], t.area) {
		return v, nil
	}
	return t.linesAnew(i)
}

func (t *core) linesAnew(i int) (*view, error) {
	v, err := t.view(i, (*core).at)
	if err != nil {
		return nil, err
	}
	t.local[i].seen.Store(v)
	return v, nil
}

// learn is lines without the lock, from what is mapped: if the version and rebuilds are then what they were seen to be,
// it was right.
func (t *core) learn(i int, seen uint64) (*view, bool) {
	v, err := t.view(i, (*core).peek)
	if p := &t.parts[i]; err != nil || p.rebuilds.Load() != v.rebuilds || p.version.Load() != seen {
		return nil, false
	}
	t.local[i].seen.Store(v)
	return v, true
}

// view looks at the arrays of partition i.
func (t *core) view(i int, bytes func(*core, dsa.Pointer) ([]byte, error)) (v *view, err error) {
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
	if err == nil && p.busy() {
		v.busy = new(busy)
		v.busy.old, err = t.linesAt(dsa.Pointer(p.old.Load()), bytes)
	}
	return v, err
}

// linesAt looks at an array, if there is one. Its number of lines is in memory that others can write to.
func (t *core) linesAt(at dsa.Pointer, bytes func(*core, dsa.Pointer) ([]byte, error)) ([]line, error) {
	if at == 0 {
		return nil, nil
	}
	b, err := bytes(t, at)
	if err != nil {
		return nil, err
	}
	if len(b) < arraySize(1) {
		return nil, corrupt("the array at %v has %d bytes", at, len(b))
	}
	n := wordAt(b).Load()
	ls := linesOf(b[linesAt(at):], n)
	if ls == nil {
		return nil, corrupt("the array at %v has %d lines", at, n)
	}
	return ls, nil
}
