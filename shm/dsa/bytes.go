package dsa

import "runtime/debug"

// Bytes returns an object's bytes, in place: as many as were asked for. They are valid until the object is freed or the
// area detached. A pointer that leads to no object is ErrPointer, as with Free. In checked mode an object past whose
// end something was written may be ErrOverrun.
//
// It takes no lock as long as this process has the segment mapped and no segment went back, whatever other goroutines
// and sessions allocate and free at the same time. It does not keep the object from being freed: the program has its
// own rule for that. If the segment is not mapped yet, it waits for the source; if one went back, for the calls that
// are in flight in this process.
func (a *Area) Bytes(p Pointer) (b []byte, err error) {
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			b, err = nil, a.errPanic(recover())
		}
	}()
	// The scope ends before the deferred function runs, which has something to do after a panic only.
	if b = a.blockAt(p); b == nil {
		b, err = a.bytesSlow(p)
	}
	if a.ends.Ended() {
		b, err = nil, errClosed
	}
	debug.SetPanicOnFault(old)
	whole = true
	return b, err
}

// blockAt returns the bytes of the object p, if it is in the first chunk of a span in a segment that is mapped. In
// each case of doubt, also if a number in shared memory is out of range, it returns nil, and bytesSlow has the answer.
// A block whose end would be behind the mapping is such a case: a span of more than one chunk near the segment's end
// can have a class that does not fit there. It takes no stripe: if the segment is unmapped while it looks, there is no
// object left in it, and a load that faults ends in the caller's scope.
func (a *Area) blockAt(p Pointer) []byte {
	m := a.maps[p.row()].Load()
	if m == nil || m.tag != p&tagMask || a.guard != 0 || a.head.returned.Load() != a.seen.Load() {
		return nil
	}
	off := p.offset()
	rel := off - m.data
	at := rel >> chunkShift
	if at >= uint64(len(m.spans)) {
		return nil
	}
	s := &m.spans[at]
	c := uint(s.class.Load())
	if kind := stateKind(s.state.Load()); kind-kindOwned > kindPartial-kindOwned || c >= uint(len(classes)) {
		return nil
	}
	cl := &classes[c]
	rel &= chunkSize - 1
	i := rel * cl.inverse >> 40
	if i*cl.size != rel || i >= uint64(cl.objects) || p.slack() >= cl.slack {
		return nil
	}
	// The words above may be of different moments, and whatever others have stored there: so the block must be allocated,
	// and what is returned lies in the segment's bytes. The mask bounds what the compiler can't: no class has more than
	// 4,096 blocks.
	pair := &s.words[i>>6&63]
	end := off + cl.size - p.slack()
	if pair.allocated()>>(i&63)&1 == 0 || end > uint64(len(m.bytes)) {
		return nil
	}
	return m.bytes[off:end:end]
}

// bytesSlow returns the bytes of an object that blockAt has not found on its short way: one of a segment that is not
// mapped, or of a run's later chunk, a large one, one in checked mode, or none. Before it looks it unmaps what went
// back. The caller has no stripe.
func (a *Area) bytesSlow(p Pointer) ([]byte, error) {
	if a.head.returned.Load() != a.seen.Load() {
		if err := a.unmapReturned(); err != nil {
			return nil, err
		}
	}
	m, at, err := a.chunkOf(p)
	if err != nil {
		return nil, err
	}
	r, rel, cl, err := m.runOf(p, at)
	if err != nil {
		return nil, err
	}
	if cl == nil {
		if rel != 0 {
			return nil, notAllocated(p)
		}
		return a.largeBytes(p, r)
	}
	return a.blockBytes(p, r, cl, rel)
}

// blockBytes returns the bytes of the object at rel in a span of that class, if p is its pointer and it is allocated.
// In checked mode its size is in the guard bytes, which a stray store may have hit: sizeOf refuses a size that the
// block does not have.
func (a *Area) blockBytes(p Pointer, r spanRef, cl *class, rel uint64) ([]byte, error) {
	i, ok := cl.index(rel)
	if !ok || !a.fitsClass(p, cl) || !r.s.allocated(i) {
		return nil, notAllocated(p)
	}
	block := r.block(cl, i)
	n := cl.size - p.slack()
	if a.guard != 0 {
		var err error
		if n, err = sizeOf(p, block); err != nil {
			return nil, err
		}
	}
	return block[:n:n], nil
}
