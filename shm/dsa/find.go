package dsa

import "fmt"

// This file follows a Pointer to the run that it leads into. A Pointer is input: it may be one of another area, one
// that was kept too long, or any number. What is found may also change while it is looked at, since other sessions free
// and allocate. Only under the right stripe nothing is unmapped, and the answer stays true for the caller's own
// objects.
//
// Which stripe is right depends on the run's class, which lies in memory that may be looked at under a stripe only. So
// each mapping remembers, by chunk, the stripe of what was there last: a guess, which is checked once that stripe is
// locked.

// find locks the stripe of what p leads to, and returns the run, the class (nil for a large object), and where in the
// run p is, in bytes. The caller unlocks the stripe: that of the class, or the last one of a large object. On an error
// no stripe is locked. Whether an object is allocated at p is not known yet.
//
// It refuses, with ErrPointer, a pointer into a segment that is not there or has another life, one before the first
// chunk or behind the last one, and one into a chunk in which there is no run. A run whose class is invalid, or whose
// chunks do not lead to its head, is ErrCorrupt. The caller has no stripe. It may wait for the source, to map a segment
// that this process has not used yet.
//
// If locked is not nil it points to the stripe that is locked, at any moment, and to nil while none is: so a caller that
// is left by a fault knows which one it has. The stripe that the chunk is remembered to have does not say that, since
// another goroutine may store there what it saw earlier.
//
// It goes a short way, for the first chunk of a span whose stripe was guessed right, and leaves the rest to findSlow. It
// asks m.gone under the stripe, since the segment may have been unmapped after maps was loaded.
func (a *Area) find(p Pointer, locked **stripe) (r spanRef, rel uint64, cl *class, err error) {
	m := a.maps[p.row()].Load()
	if m == nil || m.tag != p&tagMask {
		return a.findSlow(p, locked)
	}
	rel = p.offset() - m.data
	at := rel >> chunkShift
	if at >= uint64(len(m.stripe)) {
		return a.findSlow(p, locked)
	}
	guess := m.stripe[at].Load()
	st := &a.stripes[guess]
	st.Lock()
	if locked != nil {
		*locked = st
	}
	if !a.ends.Ended() && !m.gone {
		s := &m.spans[at]
		c := uint(s.class.Load())
		if kind := stateKind(s.state.Load()); kind >= kindOwned && kind <= kindContested && c < uint(len(classes)) {
			if cl = &classes[c]; uint32(cl.stripe) == guess && cl.chunks <= m.chunks-int(at) {
				return spanRef{m, int(at), s}, rel & (chunkSize - 1), cl, nil
			}
		}
	}
	if locked != nil {
		*locked = nil
	}
	st.Unlock()
	return a.findSlow(p, locked)
}

// findSlow finds what find has not found on its short way, and corrects the stripe that the chunk is remembered to
// have. The run can become one of another class between the look and the lock: then it tries again. Only a program that
// frees what others use makes that happen more than once or twice, and after maxTries it is ErrCorrupt.
func (a *Area) findSlow(p Pointer, locked **stripe) (r spanRef, rel uint64, cl *class, err error) {
	if locked == nil {
		locked = new(*stripe)
	}
	for range maxTries {
		m, at, err := a.chunkOf(p)
		if err != nil {
			return r, 0, nil, a.orClosed(err)
		}
		guess := m.stripe[at].Load()
		if r, rel, cl, err = a.findInStripe(&a.stripes[guess], p, m, at, locked); err != nil {
			return r, 0, nil, a.orClosed(err)
		}
		is := uint32(stripes - 1)
		if cl != nil {
			is = uint32(cl.stripe)
		}
		if is == guess && r.m != nil {
			return r, rel, cl, nil
		}
		*locked = nil
		a.stripes[guess].Unlock()
		m.stripe[at].Store(is)
	}
	return r, 0, nil, a.orClosed(corrupt("what %v leads to changes all the time", p))
}

// findInStripe locks a stripe and finds the run that p leads to. If the segment has been unmapped, the run that it
// returns has no mapping, and the caller begins again. On an error the stripe is unlocked, and locked is nil.
func (a *Area) findInStripe(
	st *stripe, p Pointer, m *mapping, at int, locked **stripe,
) (r spanRef, rel uint64, cl *class, err error) {
	st.Lock()
	*locked = st
	if a.ends.Ended() {
		err = errClosed
	} else if !m.gone {
		r, rel, cl, err = m.runOf(p, at)
	}
	if err != nil {
		*locked = nil
		st.Unlock()
	}
	return r, rel, cl, err
}

// chunkOf returns the chunk that p points into, and maps its segment if need be. The subtraction may wrap for an offset
// before the first chunk; the chunk's number is too large then, and refused like one behind the last chunk.
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

// notAllocated is the error for a pointer that leads to no object. It is a type and not a text so that a refusal
// formats nothing until a program reads the text.
type notAllocated Pointer

func (p notAllocated) Error() string {
	return fmt.Sprintf("dsa: pointer %v: %v", Pointer(p), ErrPointer)
}

func (p notAllocated) Unwrap() error { return ErrPointer }
