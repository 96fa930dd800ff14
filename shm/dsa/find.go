package dsa

import "fmt"

// find locks the stripe of what p leads to, which is the caller's to unlock unless there is an error: the run, the
// class, nil for a large object, and where in the run p is. Nothing is known yet of the object itself. All stripes are
// locked when anything is unmapped.
func (a *Area) find(p Pointer) (r spanRef, rel uint64, cl *class, err error) {
	m := a.maps[p.row()].Load()
	if m == nil || m.tag != p&tagMask {
		return a.findAnew(p)
	}
	rel = p.offset() - m.data
	at := rel >> chunkShift
	if at >= uint64(len(m.stripe)) {
		return a.findAnew(p)
	}
	guess := m.stripe[at].Load()
	st := &a.stripes[guess]
	st.Lock()
	if !a.ends.Ended() && !m.gone {
		s := &m.spans[at]
		c := s.class.Load()
		if kind := kindOf(s.state.Load()); kind >= kindOwned && kind <= kindContested && c < uint32(len(classes)) {
			if cl = &classes[c]; uint32(cl.stripe) == guess && cl.chunks <= m.chunks-int(at) {
				return spanRef{m, int(at), s}, rel & (chunkSize - 1), cl, nil
			}
		}
	}
	st.Unlock()
	return a.findAnew(p)
}

// findAnew is find, for what is not in the first chunk of a span whose class has the stripe that was remembered.
func (a *Area) findAnew(p Pointer) (r spanRef, rel uint64, cl *class, err error) {
	for range maxTries {
		m, at, err := a.chunkOf(p)
		if err != nil {
			return r, 0, nil, a.answer(err)
		}
		guess := m.stripe[at].Load()
		if r, rel, cl, err = a.findUnder(&a.stripes[guess], p, m, at); err != nil {
			return r, 0, nil, a.answer(err)
		}
		is := uint32(stripes - 1)
		if cl != nil {
			is = uint32(cl.stripe)
		}
		if is == guess && r.m != nil {
			return r, rel, cl, nil
		}
		a.stripes[guess].Unlock()
		m.stripe[at].Store(is)
	}
	return r, 0, nil, a.answer(corrupt("what %v leads to changes all the time", p))
}

// findUnder locks a stripe and finds the run that p leads to; none if the segment has been unmapped.
func (a *Area) findUnder(st *stripe, p Pointer, m *mapping, at int) (r spanRef, rel uint64, cl *class, err error) {
	st.Lock()
	if a.ends.Ended() {
		err = errClosed
	} else if !m.gone {
		r, rel, cl, err = m.lead(p, at)
	}
	if err != nil {
		st.Unlock()
	}
	return r, rel, cl, err
}

// chunkOf returns the chunk that p points into, of a segment that is mapped.
func (a *Area) chunkOf(p Pointer) (m *mapping, at int, err error) {
	if m = a.maps[p.row()].Load(); m == nil || m.tag != p&tagMask {
		if m, err = a.remap(p); err != nil {
			return nil, 0, err
		}
	}
	if at := (p.offset() - m.data) >> chunkShift; at < uint64(len(m.stripe)) {
		return m, int(at), nil
	}
	return nil, 0, notAllocated(p)
}

// lead follows p from its chunk to the head of its run: the class of that, nil for a large object, and where in it p
// is.
func (m *mapping) lead(p Pointer, at int) (r spanRef, rel uint64, cl *class, err error) {
	chunk := at
	s := &m.spans[chunk]
	state := s.state.Load()
	if kindOf(state) == kindPart {
		back := int(s.back.Load())
		if back < 1 || back > chunk {
			return r, 0, nil, corrupt("chunk %d of segment %d is %d behind its head", chunk, m.row, back)
		}
		chunk -= back
		s = &m.spans[chunk]
		state = s.state.Load()
	}
	rel = p.offset() - m.data - uint64(chunk)<<chunkShift
	r = spanRef{m, chunk, s}
	switch kindOf(state) {
	case kindOwned, kindFull, kindPartial, kindContested:
		cl, err = r.class()
		return r, rel, cl, err
	case kindLarge:
		return r, rel, nil, nil
	}
	return r, 0, nil, notAllocated(p)
}

// notAllocated is the error for a pointer.
type notAllocated Pointer

func (p notAllocated) Error() string {
	return fmt.Sprintf("dsa: pointer %v: %v", Pointer(p), ErrPointer)
}

func (p notAllocated) Unwrap() error { return ErrPointer }
