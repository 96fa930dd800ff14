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

// Returned returns how many segments have gone back. While the number is the same, and the View has not ended, what
// Peek has returned stays mapped. It takes no lock. It is one load, and a fault of that, if the object was truncated, is
// the caller's, as one in what Peek has returned; but in checked mode it is 0 then.
func (a *Area) Returned() (n uint64) {
	switch {
	case a.head == nil: // the zero Area
	case a.careful:
		_ = a.contained(func() error { n = a.head.returned.Load(); return nil })
	default:
		n = a.head.returned.Load()
	}
	return n
}

// Current unmaps the segments that went back since it was last called, as Free and Bytes do. If there is one, it waits
// for the calls of this package that are in flight in this process. After Detach it returns ErrClosed. Its first load is
// that of Returned.
func (a *Area) Current() error {
	if a.Returned() == a.seen.Load() {
		return a.orClosed(nil)
	}
	return a.unmapAfter(nil)
}
