package dshash

import (
	"bytes"
	"context"
	"iter"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dsa"
)

// Item is a copy of an entry.
type Item[K, V any] struct {
	Key   K
	Value V
}

// eachCopy yields what take makes of each entry. It takes the partitions one after the other: it copies all entries of
// one, gives the partition back, and then yields the copies. So the loop's body may use the table, may wait, and may
// panic or end its goroutine. It costs the memory of one partition's entries.
//
// What has been copied is yielded only if the area had not ended by then: bytes that were read after the end are zeros,
// and no entry's. An error is yielded once, as the last, with a zero X.
func eachCopy[X any](ctx context.Context, t *core, take func(key, value []byte) X) iter.Seq2[X, error] {
	return func(yield func(X, error) bool) {
		var batch []X
		for i := range t.parts {
			var err error
			if batch, err = copyPart(ctx, t, i, batch[:0], take); err != nil {
				yield(*new(X), err)
				return
			}
			for _, x := range batch {
				if !yield(x, nil) {
					return
				}
			}
		}
	}
}

// copyPart appends to batch what take makes of each entry of partition i, which it holds shared for that time. The
// item is checked before it is copied, since another process may have written over it, and a fault is an error: the
// scan has the lock then, and gives it back.
func copyPart[X any](ctx context.Context, t *core, i int, batch []X, take func(key, value []byte) X) ([]X, error) {
	var e entry
	var garbled error
	_, err := t.scanPart(ctx, i, false, &e, func() bool {
		garbled = t.contained(func() error {
			key, value, ok := e.keyValue()
			if !ok {
				return corrupt("the item at %v is longer than its segment", e.ptr)
			}
			batch = append(batch, take(key, value))
			return nil
		})
		return garbled == nil
	})
	if err == nil {
		err = garbled
	}
	return batch, t.orClosed(err)
}

// forgetCopies has the copies that were replaced before the change was made no longer count. The caller holds the
// partition's lock exclusively, and has committed the change.
func (e *entry) forgetCopies() {
	if c := &e.l.change; c.dropped > 0 {
		e.l.t.lowerLongest(e.l.i, c.dropped)
		c.dropped = 0
	}
}

// copyAgainLocked does the copying for redoLocked, whose caller holds the reserve's lock. The partition is that of a
// dead session, or of one that met a fault; its lock need not be held, as no session changes the item before redo is
// done. All that it reads may be garbled: what does not fit is ErrCorrupt, and nothing is written.
func (t *core) copyAgainLocked() error {
	s := &t.spared
	i := s.redo.Load() - 1
	log, err := t.checkedObject(s.places[s.currentPlace()].Pointer())
	if err != nil {
		return err
	}
	// This refuses the number of a partition that the table does not have, and a reserve that is too short to lead to
	// an item.
	if i >= uint64(len(t.parts)) || len(log) < reserveHeader {
		return corrupt("the reserve has nothing of partition %d", i)
	}
	item, n := dsa.Pointer(wordAt(log).Load()), wordAt(log[8:]).Load()
	// This refuses a length that reaches beyond the reserve's object.
	if n > uint64(len(log)-reserveHeader) {
		return corrupt("the reserve has an item of %d bytes and room for %d", n, len(log)-reserveHeader)
	}
	from := log[reserveHeader:][:n]
	// The allocator knows how long the entry's object is; a pointer to none is ErrCorrupt.
	to, err := t.checkedObject(item)
	if err != nil {
		return err
	}
	// The item must be the same entry's, in the partition that redo names, and fit into the object. Anything else is
	// not what overwrite has left. The lengths are loaded here once: the copy goes by at and
	// end, whatever is stored there afterwards.
	key, at, end, whole := t.splitItem(from)
	is, ok := t.keyOf(to)
	if !whole || !ok || len(to) < len(from) || !bytes.Equal(key, is) || t.partOf(hashOf(key, t.seed)) != int(i) {
		return corrupt("the reserve has another item than that at %v", item)
	}
	p := &t.parts[i]
	// The version may be odd already, or even if the holder died before beginOverwrite; it is odd from here on.
	p.beginOverwrite()
	t.copyValue(to, from, at, end)
	// Other processes may not have the copy, which is in another segment than redo: redo stays.
	if t.ends.Ended() {
		return errClosed
	}
	p.raiseVersion()
	return nil
}

// copyValue copies the value of from, an item, over that of to, an item of the same key. The value is what lies from at
// to end in both, and both are so long. It loads no length from either: another process may have changed those since
// they were checked. The length of an item of byte strings is one store, so lengths fit the object at any time; the
// value may be half old and half new meanwhile, which the odd version tells.
func (t *core) copyValue(to, from []byte, at, end int) {
	if t.kind == kindBytes {
		lengthsAt(to)[1].Store(uint32(end - at))
		failpoint.Hit("dshash/overwrite/length")
	}
	half := at + (end-at)/2
	copy(to[at:half], from[at:half])
	failpoint.Hit("dshash/overwrite/half")
	copy(to[half:end], from[half:end])
}
