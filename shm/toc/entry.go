package toc

import (
	"errors"
	"fmt"
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
)

type entry struct {
	_      structs.HostLayout
	key    atomic.Uint64
	offset atomic.Uint64
	length atomic.Uint64
}

// claimEntry makes one more entry, unless the key is there.
func (t *Toc) claimEntry(key uint64) (*entry, error) {
	for {
		u, err := t.usageNow()
		if err != nil {
			return nil, err
		}
		if _, err := t.Lookup(key); err == nil {
			return nil, errkind.As(ErrExists, fmt.Errorf("key %#x is in the table of contents already", key))
		} else if !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if u.head(1)+u.chunks*Align > u.size {
			return nil, errFullToc("there is no room for key %#x", key)
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
			return nil, errCorruptToc("entry %d was not zero: zero the region before Create", u.entries)
		}
		if t.h.used.CompareAndSwap(u.word, u.word+1) {
			return e, nil
		}
	}
}

func (t *Toc) entry(i uint64) (*entry, error) {
	return shm.At[entry](t.r, shm.Offset(headerSize+i*entrySize))
}
