package dsa

// Peek returns the bytes from p to the end of its segment, if that is mapped here; else nothing. It does
// not ask whether there is an object at p, and what it returns may be freed, or even unmapped by
// another goroutine's call, at any time: a fault then. It is for readers who can tell afterwards
// whether it was, and never waits. Who does nothing but peek has to call Current now and then.
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

// Returned counts the segments that went back. While it is the same, and the View has not ended, what Peek has
// returned stays mapped.
func (a *Area) Returned() uint64 {
	if a.head == nil { // the zero Area
		return 0
	}
	return a.head.returned.Load()
}

// Current unmaps what went back since it was last called, as Alloc, Free and Bytes do now and
// then. After Detach it is ErrClosed.
func (a *Area) Current() error {
	if a.Returned() == a.seen.Load() {
		return a.answer(nil)
	}
	return a.after(nil)
}
