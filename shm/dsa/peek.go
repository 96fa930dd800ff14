package dsa

// This file is for readers without a lock, such as a lookup in a hash table. They read bytes that may be freed, or
// written, at the same time, and validate afterwards: by a version of their own structure, and by Returned, which tells
// if the bytes stayed mapped.

// Peek returns the bytes from p to the end of its segment if that is mapped here, and else nothing. It does not ask
// whether there is an object at p. It never waits, and takes no lock: what it returns may be freed at any time, or even
// unmapped by another goroutine's call, after which reading it faults. It is for a reader that can tell afterwards
// whether that has happened. A program that does nothing but peek has to call Current from time to time, so that
// segments that went back are unmapped.
func (a *Area) Peek(p Pointer) []byte {
	m := a.maps[p.row()].Load()
	if m == nil || m.tag != p&tagMask {
		return nil
	}
	if off := p.offset(); off >= m.data && off < uint64(len(m.bytes)) {
		return m.bytes[off:]
	}
	return nil
}
