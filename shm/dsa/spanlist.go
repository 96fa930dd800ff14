package dsa

import (
	"context"
	"math"

	"github.com/godsm/godsm/internal/failpoint"
)

// firstSpanLocked returns the first span in the list of a class; ok is false if the list is empty. A list that leads
// to a span of another class is ErrCorrupt: an object would be allocated in a block of another size. The caller holds
// the area's lock.
func (a *Area) firstSpanLocked(cl *class) (r spanRef, ok bool, err error) {
	first := a.head.partial[cl.id].Load()
	if first == 0 {
		return r, false, nil
	}
	if r, err = a.listedSpanLocked(first); err != nil {
		return r, false, err
	}
	is, err := r.class()
	if err == nil && is != cl {
		err = corrupt("a span of class %d is in the list of class %d", is.id, cl.id)
	}
	return r, err == nil, err
}

// linkSpanLocked puts a span at the head of the list of its class. The span's state says already that it belongs
// there. If a neighbour cannot be mapped it returns the error, and the span is in no list: the caller has the lists
// made anew. The caller holds the area's lock.
//
// The span's own words and its neighbour's are stored before the list's head: until the head leads to the span, a walk
// from the head meets the old list.
func (a *Area) linkSpanLocked(r spanRef) error {
	cl, err := r.class()
	if err != nil {
		return err
	}
	head := &a.head.partial[cl.id]
	first := head.Load()
	r.s.prev.Store(0)
	r.s.next.Store(first)
	if first != 0 {
		f, err := a.listedSpanLocked(first)
		if err != nil {
			return err
		}
		f.s.prev.Store(r.ref())
	}
	failpoint.Hit("dsa/list/between")
	head.Store(r.ref())
	return nil
}

// unlinkSpanLocked takes a span out of the list of its class. It finds both neighbours first, since a segment can fail
// to be mapped (the session is closing, or has too many): then nothing has changed. The caller holds the area's lock.
// A process that dies between the two stores has died with the lock, so the lists are made anew.
func (a *Area) unlinkSpanLocked(r spanRef) error {
	cl, err := r.class()
	if err != nil {
		return err
	}
	next, prev := r.s.next.Load(), r.s.prev.Load()
	var n, p spanRef
	if next != 0 {
		if n, err = a.listedSpanLocked(next); err != nil {
			return err
		}
	}
	if prev != 0 {
		if p, err = a.listedSpanLocked(prev); err != nil {
			return err
		}
	}
	if next != 0 {
		n.s.prev.Store(prev)
	}
	failpoint.Hit("dsa/list/half")
	if prev == 0 {
		a.head.partial[cl.id].Store(next)
	} else {
		p.s.next.Store(next)
	}
	return nil
}

// listedSpanLocked returns the span that a word of a list names, and maps its segment if need be. The word comes from
// shared memory. It refuses, with ErrCorrupt, a row that an area cannot have, a chunk behind the segment's last one,
// and a chunk at which no partial span begins: so a list that a stray store has bent leads to no memory that is in use
// otherwise. It does not ask whether the span is of the list's class; see firstSpanLocked. The caller holds the area's
// lock.
func (a *Area) listedSpanLocked(ref uint64) (r spanRef, err error) {
	row, chunk := ref>>32-1, ref&math.MaxUint32
	if row >= maxRows {
		return r, corrupt("a list leads to segment %d", int64(row))
	}
	m, err := a.mapRow(context.Background(), int(row))
	if err != nil {
		return r, err
	}
	if chunk >= uint64(m.chunks) || stateKind(m.spans[chunk].state.Load()) != kindPartial {
		return r, corrupt("a list leads to chunk %d of segment %d, which does not belong there", chunk, row)
	}
	return spanRef{m, int(chunk), &m.spans[chunk]}, nil
}
