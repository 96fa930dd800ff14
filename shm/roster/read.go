package roster

import (
	"fmt"
	"iter"
	"math/bits"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// InUse returns how many records of this session are in use.
func (r *Roster[S, R]) InUse() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.made - len(r.free)
}

// At returns the record that ref names. One that does not exist is ErrCorrupt: a process's word was garbled.
func (r *Roster[S, R]) At(ref Ref) (*R, error) {
	row, i := ref.Row(), ref.Index()
	if row < 0 || row >= shmsync.MaxRows {
		return nil, corrupt("%#x names no record", uint32(ref))
	}
	if p := r.first[row].Load(); i < firstPage && p != nil {
		return &p[i], nil
	}
	k := bits.Len(uint(i/firstPage+1)) - 1
	if k < pageCount {
		v, err := r.find(row)
		if err != nil {
			return nil, err
		}
		page, err := r.page(v, k)
		if err != nil {
			return nil, err
		}
		if k == 0 && len(page) == firstPage {
			r.first[row].Store((*[firstPage]R)(page))
		}
		if at := i - firstPage*(1<<k-1); at < len(page) {
			return &page[at], nil
		}
	}
	return nil, corrupt("row %d has no record %d", row, i)
}

// Seat returns who has the seat of a row, and the structure's part of it. It is false if the row was never used.
func (r *Roster[S, R]) Seat(row int) (who shmsync.Peer, own *S, ok bool) {
	if row < 0 || row >= shmsync.MaxRows || r.head.rows[row].Load() == 0 {
		return who, nil, false
	}
	v, err := r.find(row)
	if err != nil {
		return who, nil, false
	}
	w := v.chair.peer.Load()
	return shmsync.PeerOf(w), &v.chair.own, w != 0
}

// Rows yields the rows that were ever used, and who has the seat of each. It takes no lock.
func (r *Roster[S, R]) Rows() iter.Seq2[int, shmsync.Peer] {
	return func(yield func(int, shmsync.Peer) bool) {
		for row := range r.head.rows {
			if who, _, ok := r.Seat(row); ok && !yield(row, who) {
				return
			}
		}
	}
}

// Each yields the records of a row, in use or not. It takes no lock.
func (r *Roster[S, R]) Each(row int) iter.Seq2[Ref, *R] {
	return func(yield func(Ref, *R) bool) {
		if row < 0 || row >= shmsync.MaxRows || r.head.rows[row].Load() == 0 {
			return
		}
		v, err := r.find(row)
		if err != nil {
			return
		}
		n := 0
		for k := range pageCount {
			page, err := r.page(v, k)
			if err != nil || page == nil {
				return
			}
			for i := range page {
				if !yield(refOf(row, n+i), &page[i]) {
					return
				}
			}
			n += len(page)
		}
	}
}

// find returns the seat of a row.
func (r *Roster[S, R]) find(row int) (*view[S, R], error) {
	if v := r.seen[row].Load(); v != nil {
		return v, nil
	}
	p := dsa.Pointer(r.head.rows[row].Load())
	if p == 0 {
		return nil, corrupt("row %d has no seat", row)
	}
	c, err := objectAt[chair[S]](r.bytes, p)
	if err != nil {
		return nil, fmt.Errorf("roster: the seat of row %d: %w", row, err)
	}
	v := &view[S, R]{chair: c, at: p}
	if !r.seen[row].CompareAndSwap(nil, v) {
		v = r.seen[row].Load()
	}
	return v, nil
}
