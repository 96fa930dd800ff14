package dshash

import "github.com/godsm/godsm/shm/dsa"

// lines is the array of partition i, under its lock; none before the first entry.
func (t *core) lines(i int) ([]line, error) {
	if ls, ok := t.known(i); ok {
		return ls, nil
	}
	at := dsa.Pointer(t.parts[i].array.Load())
	returned := t.area.Returned()
	if err := t.area.Current(); err != nil {
		return nil, err
	}
	b, err := t.at(at)
	if err != nil {
		return nil, err
	}
	return t.learn(i, at, returned, b)
}

// known is the array of partition i if it has been seen before. It is all that a lookup without the lock needs of it.
func (t *core) known(i int) (ls []line, ok bool) {
	at := t.parts[i].array.Load()
	if v := t.local[i].seen.Load(); v != nil && v.at == at && v.returned == t.area.Returned() {
		return v.lines, true
	}
	return nil, at == 0
}

// learn remembers the array that is in b. Its number of lines is in memory that a neighbour can write to.
func (t *core) learn(i int, at dsa.Pointer, returned uint64, b []byte) ([]line, error) {
	if len(b) < arraySize(1) {
		return nil, corrupt("the array at %v has %d bytes", at, len(b))
	}
	n := wordAt(b).Load()
	ls := linesOf(b[linesAt(at):], n)
	if ls == nil {
		return nil, corrupt("the array at %v has %d lines", at, n)
	}
	t.local[i].seen.Store(&view{uint64(at), returned, ls})
	return ls, nil
}
