package toc

import (
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/race"
	"github.com/godsm/godsm/shm"
)

// usage is what is used of a table, checked.
type usage struct{ word, size, entries, chunks uint64 }

func (t *Toc) look() (usage, error) {
	if t.h == nil {
		return usage{}, errkind.As(ErrClosed, errors.New("the zero Toc is no table of contents: Create or Attach makes one"))
	}
	if err := t.r.View().Err(); err != nil {
		return usage{}, err
	}
	w, form := t.h.used.Load(), t.h.form.Load()
	size := form & (1<<sizeBits - 1)
	u := usage{w, size, w & maxEntries, w >> 32}
	switch {
	case form>>sizeBits != version:
		return u, corrupt("its layout version has become %d", form>>sizeBits)
	case size > uint64(t.r.Len()) || size%Align != 0:
		return u, corrupt("its size is %d in a region of %d", size, t.r.Len())
	case u.head(0)+u.chunks*Align > size:
		return u, corrupt("%d entries and %d chunks are more than its %d bytes", u.entries, u.chunks, size)
	}
	return u, nil
}

// head returns the bytes of the header with so many more entries.
func (u usage) head(more uint64) uint64 { return headerSize + (u.entries+more)*entrySize }

// allocated reports whether n bytes at off have been handed out.
func (u usage) allocated(off, n uint64) bool {
	return off >= u.size-u.chunks*Align && off <= u.size && n <= u.size-off
}

// Free returns how many bytes are left for chunks and entries.
func (t *Toc) Free() (n int, err error) {
	defer t.answer(&err)
	defer fault.Return(&err, fault.Catch())
	u, err := t.look()
	if err != nil {
		return 0, err
	}
	return int(u.size - u.head(0) - u.chunks*Align), nil
}

// Allocate hands out n bytes, aligned to Align. They are never taken back. No process finds them before they are inserted.
func (t *Toc) Allocate(n int) (off shm.Offset, err error) {
	defer t.answer(&err)
	defer fault.Return(&err, fault.Catch())
	if n < 0 {
		return 0, errkind.As(errkind.Size, fmt.Errorf("table of contents: allocating %d bytes: the number is negative", n))
	}
	for {
		u, err := t.look()
		if err != nil {
			return 0, err
		}
		want := chunksOf(n)
		if free := (u.size - u.head(0)) / Align; want > free-u.chunks {
			return 0, full("%d bytes were asked for, %d are left", n, (free-u.chunks)*Align)
		}
		failpoint.Hit("toc/allocate/looked")
		if t.h.used.CompareAndSwap(u.word, u.word+want<<32) {
			failpoint.Hit("toc/allocate/done")
			return shm.Offset(u.size - (u.chunks+want)*Align), nil
		}
	}
}

// Insert makes the n bytes at off known by key. What was stored in them before is seen by the process that finds them. A
// key that is there already is ErrExists. If several insert one key at the same time, more than one may succeed,
// and which one is found is settled only when all have returned: a caller that wants to be sure lets one process insert.
func (t *Toc) Insert(key uint64, off shm.Offset, n int) (err error) {
	defer t.answer(&err)
	defer fault.Return(&err, fault.Catch())
	u, err := t.look()
	if err != nil {
		return err
	}
	if n < 0 || !u.allocated(uint64(off), uint64(n)) {
		return errkind.As(errkind.Size,
			fmt.Errorf("key %#x: %d bytes at offset %d have not been allocated", key, n, off))
	}
	e, err := t.claim(key)
	if err != nil {
		return err
	}
	failpoint.Hit("toc/insert/claimed")
	race.Release(&t.h.used)
	e.key.Store(key)
	e.length.Store(uint64(n))
	e.offset.Store(uint64(off))
	return nil
}

// claim makes one more entry, unless the key is there.
func (t *Toc) claim(key uint64) (*entry, error) {
	for {
		u, err := t.look()
		if err != nil {
			return nil, err
		}
		if _, err := t.Lookup(key); err == nil {
			return nil, errkind.As(ErrExists, fmt.Errorf("key %#x is in the table of contents already", key))
		} else if !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if u.head(1)+u.chunks*Align > u.size {
			return nil, full("there is no room for key %#x", key)
		}
		e, err := t.entry(u.entries)
		if err != nil {
			return nil, err
		}
		zero := e.key.Load() == 0 && e.offset.Load() == 0 && e.length.Load() == 0
		if t.h.used.Load() != u.word {
			continue
		}
		if !zero {
			return nil, corrupt("entry %d was not zero: zero the region before Create", u.entries)
		}
		if t.h.used.CompareAndSwap(u.word, u.word+1) {
			return e, nil
		}
	}
}

func (t *Toc) entry(i uint64) (*entry, error) {
	return shm.At[entry](t.r, shm.Offset(headerSize+i*entrySize))
}

// Lookup finds the bytes that were inserted by key. A key that is not there, or not yet, is ErrNotFound.
func (t *Toc) Lookup(key uint64) (r shm.Region, err error) {
	defer t.answer(&err)
	defer fault.Return(&err, fault.Catch())
	u, err := t.look()
	if err != nil {
		return shm.Region{}, err
	}
	list, err := shm.SliceOf[entry](t.r, headerSize, int(u.entries))
	if err != nil {
		return shm.Region{}, err
	}
	for i := range list {
		e := &list[i]
		off := e.offset.Load()
		if off == 0 || e.key.Load() != key { // 0: claimed, and not written yet
			continue
		}
		failpoint.Hit("toc/lookup/found")
		n := e.length.Load()
		if !u.allocated(off, n) {
			return shm.Region{}, corrupt("key %#x stands for %d bytes at offset %d", key, n, off)
		}
		race.Acquire(&t.h.used)
		return t.r.Sub(shm.Offset(off), int(n))
	}
	return shm.Region{}, errkind.As(ErrNotFound, fmt.Errorf("key %#x is not in the table of contents", key))
}
