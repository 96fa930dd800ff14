package toc

import (
	"errors"

	"github.com/godsm/godsm/internal/errkind"
)

// usage is what is used of a table, checked.
type usage struct{ word, size, entries, chunks uint64 }

func (t *Toc) usageNow() (usage, error) {
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
		return u, errCorruptToc("its layout version has become %d", form>>sizeBits)
	case size > uint64(t.r.Len()) || size%Align != 0:
		return u, errCorruptToc("its size is %d in a region of %d", size, t.r.Len())
	case u.head(0)+u.chunks*Align > size:
		return u, errCorruptToc("%d entries and %d chunks are more than its %d bytes", u.entries, u.chunks, size)
	}
	return u, nil
}

// head returns the bytes of the header with so many more entries.
func (u usage) head(more uint64) uint64 { return headerSize + (u.entries+more)*entrySize }

// allocated reports whether n bytes at off have been handed out.
func (u usage) allocated(off, n uint64) bool {
	return off >= u.size-u.chunks*Align && off <= u.size && n <= u.size-off
}
