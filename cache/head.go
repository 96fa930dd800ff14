package cache

import (
	"fmt"
	"structs"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/boottime"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// The segment of a cache begins with its head, rows for the counts of sessions, up to a whole page. The rest is the
// engine's.
const (
	headMagic   = 0x3163_6863_6d73_6467 // "gdsmchc1", in the order of little-endian bytes
	headVersion = 1

	headSize    = 64
	rowSize     = 144
	leastRows   = 16
	mostRows    = 256
	bytesARow   = 64 << 10 // of the limit
	pageSize    = 4096
	countOfRows = 8 // numbers in a row
)

// head is written once, by Open, before the name is published.
type head struct {
	_       structs.HostLayout
	magic   atomic.Uint64
	version atomic.Uint64
	born    atomic.Uint64 // what boottime said, in nanoseconds
	rows    atomic.Uint64
	_       [32]byte
}

// row has the counts of one session and of those that have had the row before: counts only go up, and base is what
// they were when the session came. The last row is also for those for which there was none.
type row struct {
	_      structs.HostLayout
	peer   atomic.Uint64 // the session; 0: none yet. By compare-and-swap, from a dead session
	counts [countOfRows]atomic.Uint64
	base   [countOfRows]atomic.Uint64
	_      [8]byte
}

// rowsOf returns how many rows a cache of so many bytes has, and where the engine begins.
func rowsOf(size int) (n, engine int) {
	n = min(max(size/bytesARow, leastRows), mostRows)
	return n, (headSize + n*rowSize + pageSize - 1) &^ (pageSize - 1)
}

// top is a head with its rows, as this process sees it.
type top struct {
	*head
	size int // of the memory
	list []row
	self shmsync.Self
	own  *row
}

// topOf finds the head in a cache's memory, and the engine's part. New says that it is to be written first.
func topOf(r shm.Region, self shmsync.Self, fresh bool) (t *top, engine shm.Region, err error) {
	n, at := rowsOf(r.Len())
	t = &top{self: self, size: r.Len()}
	if t.head, err = shm.At[head](r, 0); err != nil {
		return nil, engine, err
	}
	if t.list, err = shm.SliceOf[row](r, headSize, n); err != nil {
		return nil, engine, err
	}
	if engine, err = r.Sub(shm.Offset(at), r.Len()-at); err != nil {
		return nil, engine, err
	}
	if fresh {
		t.version.Store(headVersion)
		t.born.Store(uint64(boottime.Now() - time.Second))
		t.rows.Store(uint64(n))
		failpoint.Hit("cache/make/head")
		t.magic.Store(headMagic)
	}
	switch {
	case t.magic.Load() != headMagic || t.rows.Load() != uint64(n):
		return nil, engine, errkind.As(ErrCorrupt, fmt.Errorf("the segment begins with %#x and not with a cache of %d rows",
			t.magic.Load(), n))
	case t.version.Load() != headVersion:
		return nil, engine, errkind.OtherVersion("the head", t.version.Load(), headVersion, "the cache's other sessions")
	}
	return t, engine, nil
}

// claim finds the session's row: its own of an earlier Open, a free one, or one whose session is dead.
func (t *top) claim() {
	me := t.self.Peer.Word()
	for i := range t.list {
		if t.list[i].peer.Load() == me {
			t.own = &t.list[i]
			return
		}
	}
	for i := range t.list {
		r := &t.list[i]
		w := r.peer.Load()
		if w != 0 && t.sessionLives(w) || !r.peer.CompareAndSwap(w, me) {
			continue
		}
		failpoint.Hit("cache/row/claimed")
		for k := range r.counts {
			r.base[k].Store(r.counts[k].Load())
		}
		t.own = r
		return
	}
	t.own = &t.list[len(t.list)-1]
}

func (t *top) sessionLives(word uint64) bool {
	p := shmsync.PeerOf(word)
	return p == t.self.Peer || p.Row >= 0 && p.Row < shmsync.MaxRows && t.self.Alive(p)
}

// bornAt returns what boottime said when the cache was made.
func (t *top) bornAt() time.Duration { return time.Duration(t.born.Load()) }
