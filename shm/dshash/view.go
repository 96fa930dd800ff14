package dshash

import "github.com/godsm/godsm/shm/dsa"

// view is an array as it is mapped here.
type view struct {
	at       uint64 // what the partition's array was
	rebuilds uint64 // and its rebuilds. With both as they are, no other array can be meant
	returned uint64 // what the area's Returned was: if that is another now, the array may be unmapped
	lines    []line
}

// current says whether the partition's array is still the one of the view.
func (v *view) current(p *partition, a *dsa.Area) bool {
	return v != nil && v.at^p.array.Load()|v.rebuilds^p.rebuilds.Load()|v.returned^a.Returned() == 0
}

// known is the array of partition i as it was seen last, if it is that still; nothing before the first entry.
func (t *core) known(i int) (ls []line, ok bool) {
	p := &t.parts[i]
	if v := t.local[i].seen.Load(); v.current(p, t.area) {
		return v.lines, true
	}
	return nil, p.array.Load() == 0
}

// lines is the array of partition i, under its lock; none before the first entry.
func (t *core) lines(i int) ([]line, error) {
	if v := t.local[i].seen.Load(); v.current(&t.parts[i], t.area) {
		return v.lines, nil
	}
	return t.linesAnew(i)
}

func (t *core) linesAnew(i int) ([]line, error) {
	if t.parts[i].array.Load() == 0 {
		return nil, nil
	}
	v, err := t.view(i, (*core).at)
	if err != nil {
		return nil, err
	}
	t.local[i].seen.Store(v)
	return v.lines, nil
}

// learn is lines without the lock, from what is mapped: if the version is then what it was seen to be, it was right.
func (t *core) learn(i int, seen uint64) ([]line, bool) {
	v, err := t.view(i, (*core).peek)
	if err != nil || t.parts[i].version.Load() != seen {
		return nil, false
	}
	t.local[i].seen.Store(v)
	return v.lines, true
}

// view looks at the array of partition i, which has one. Its number of lines is in memory that others can write to.
func (t *core) view(i int, bytes func(*core, dsa.Pointer) ([]byte, error)) (*view, error) {
	returned := t.area.Returned()
	if err := t.area.Current(); err != nil {
		return nil, err
	}
	p := &t.parts[i]
	rebuilds, at := p.rebuilds.Load(), dsa.Pointer(p.array.Load())
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
	return &view{uint64(at), rebuilds, returned, ls}, nil
}
