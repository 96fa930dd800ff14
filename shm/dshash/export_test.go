package dshash

import (
	"context"
	"sync/atomic"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
)

// Lockless is whether Get goes without the lock in this build.
const Lockless = lockless

// Objects are some of those of two tables: themselves, all arrays, and the items.
func Objects[K comparable, V any](a *Table[K, V], b *Bytes) []dsa.Pointer {
	list := []dsa.Pointer{a.t.handle, b.t.handle}
	for _, t := range []*core{a.t, b.t} {
		for i := range t.parts {
			list = append(list, dsa.Pointer(t.parts[i].array.Load()))
			v, _ := t.lockedView(i)
			for k := range v.lines {
				for slot := range v.lines[k].slots {
					if p := v.lines[k].slots[slot].Load(); p != 0 {
						list = append(list, dsa.Pointer(p))
					}
				}
			}
		}
	}
	return list
}

// InLock is whether an offset in a table is in a partition's lock.
func InLock(p dsa.Pointer, at int) bool {
	if in := at - reserveOffset(p) - reserveLockAt; in >= 0 && in < lockSize {
		return true
	}
	at -= partitionsOffset(p)
	within := at%partitionSize - lockAt
	return at >= 0 && within >= 0 && within < lockSize
}

// Dirty makes the next in each partition repair it.
func Dirty[K comparable, V any](a *Table[K, V], b *Bytes) {
	for _, t := range []*core{a.t, b.t} {
		for i := range t.parts {
			t.parts[i].dirty.Store(1)
		}
	}
}

// Rebuild gives a table of one partition an array of so many lines, as growing and shrinking do, and says where it is.
func Rebuild[K comparable, V any](t *Table[K, V], lines int) (at dsa.Pointer, err error) {
	var e entry
	defer e.unlock()
	if err := t.t.lockPart(context.Background(), 0, true, &e); err != nil {
		return 0, err
	}
	v, err := t.t.lockedView(0)
	if err == nil {
		err = t.t.beginResize(0, v.lines, lines)
	}
	if err == nil {
		err = t.t.finishResize(0)
	}
	return dsa.Pointer(t.t.parts[0].array.Load()), err
}

// MovedLast returns, while entries of a table of one partition move to another array, a function that reports whether
// a key's home line in the old one is among the last two from which they have moved; otherwise nil.
func MovedLast[V any](t *Table[uint64, V]) func(key uint64) bool {
	done := int(t.t.parts[0].progress.Load())
	v, err := t.t.lockedView(0)
	if err != nil || v.oldLines() == nil || done == 0 {
		return nil
	}
	return func(key uint64) bool {
		home := homeOf(hashOf(bytesOf(&key), t.t.seed), len(v.oldLines()))
		return home >= done-2 && home < done
	}
}

// Glance looks without the lock, once; not ok if that is not to be done.
func Glance[V any](t *Table[uint64, V], key uint64) (v V, found, ok bool) {
	found, ok = t.t.readWordOptimistic(bytesOf(&key), bytesOf(&v))
	return v, found, ok
}

// Version is that of a table's first partition.
func Version(b *Bytes) uint64 { return b.t.parts[0].version.Load() }

// Garbles are stray stores into a table of one partition.
var Garbles = []struct {
	Name   string
	Garble func(b *Bytes)
}{
	{"array that leads nowhere", func(b *Bytes) { b.t.parts[0].array.Store(1 << 20) }},
	{"array that leads to an item", func(b *Bytes) { b.t.parts[0].array.Store(b.t.anItem(0).Load()) }},
	{"number of lines", func(b *Bytes) {
		at, _ := b.t.bytesAt(dsa.Pointer(b.t.parts[0].array.Load()))
		wordAt(at).Store(1 << 40)
		b.t.parts[0].rebuilds.Add(1)
	}},
	{"slot", func(b *Bytes) { b.t.anItem(0).Store(1 << 30) }},
	{"slot's life", func(b *Bytes) { w := b.t.anItem(0); w.Store(w.Load() ^ 1<<60) }},
	{"lengths", func(b *Bytes) {
		at, _ := b.t.bytesAt(dsa.Pointer(b.t.anItem(0).Load()))
		lengthsAt(at)[1].Store(1 << 31)
	}},
	{"count", func(b *Bytes) { b.t.parts[0].count.Store(1 << 62) }},
	{"hand", func(b *Bytes) { b.t.parts[0].hands[1].Store(12345) }},
	{"hand that leads to an item", func(b *Bytes) { b.t.parts[0].dirty.Store(1); b.t.parts[0].hands[0].Store(b.t.anItem(0).Load()) }},
	{"old array", func(b *Bytes) { b.t.parts[0].old.Store(b.t.anItem(0).Load()); b.t.parts[0].rebuilds.Add(2) }},
	{"array that is the old one", func(b *Bytes) {
		b.t.parts[0].old.Store(b.t.parts[0].array.Load())
		b.t.parts[0].array.Store(0)
		b.t.parts[0].rebuilds.Add(2)
	}},
	{"coming array", func(b *Bytes) { b.t.parts[0].next.Store(12345) }},
	{"array that comes again", func(b *Bytes) { b.t.parts[0].next.Store(b.t.anItem(0).Load()); b.t.parts[0].dirty.Store(1) }},
	{"progress", func(b *Bytes) { b.t.parts[0].progress.Store(1 << 62) }},
	{"rebuilds", func(b *Bytes) { b.t.parts[0].rebuilds.Add(1) }},
	{"version", func(b *Bytes) { b.t.parts[0].version.Add(1) }},
	{"redo", func(b *Bytes) { b.t.spared.redo.Store(1) }},
	{"redo of no partition", func(b *Bytes) { b.t.spared.redo.Store(1 << 50) }},
	{"reserve", func(b *Bytes) { b.t.spared.which.Add(1) }},
	{"reserve's place", func(b *Bytes) { b.t.spared.reserve.places[0].Store(12345); b.t.spared.bytes.Store(0) }},
	{"dirty", func(b *Bytes) { b.t.parts[0].dirty.Store(77) }},
}

// anItem is a slot that is in use, of a partition.
func (t *core) anItem(i int) *atomic.Uint64 {
	v, _ := t.lockedView(i)
	for k := range v.lines {
		for slot := range v.lines[k].slots {
			if w := &v.lines[k].slots[slot]; w.Load() != 0 {
				return w
			}
		}
	}
	return nil
}

// Words are those of the lock of a table's first partition.
func Words(b *Bytes) []atomic.Uint64 {
	w, _ := b.t.area.Bytes(b.t.handle)
	words, _ := shm.SliceOf[atomic.Uint64](shm.NewRegion(w), shm.Offset(partitionsOffset(b.t.handle)+lockAt), lockSize/8)
	return words
}

// RowsAt is where the rows of an area begin in its first segment.
const RowsAt = 128 + 512 + 8*96

// PlaceOf is the segment that p is in, and where there.
func PlaceOf(p dsa.Pointer) (segment, at int) { return int(p >> 31 & 511), int(p&(1<<31-1)) * 16 }

// Reached are some of the objects of two tables, as far as they can be reached: arrays, items, those in hands.
func Reached[K comparable, V any](b *Bytes, a *Table[K, V]) (list []dsa.Pointer) {
	for _, t := range []*core{a.t, b.t} {
		_ = t.contained(func() error {
			for i := range t.parts {
				list = append(list, dsa.Pointer(t.parts[i].array.Load()))
				for k := range t.parts[i].hands {
					list = append(list, dsa.Pointer(t.parts[i].hands[k].Load()))
				}
				v := t.seen[i].Load()
				if v == nil {
					continue
				}
				for k := range min(len(v.lines), 20) {
					for slot := range v.lines[k].slots {
						list = append(list, dsa.Pointer(v.lines[k].slots[slot].Load()))
					}
				}
			}
			return nil
		})
	}
	return list
}

// Pace makes steps as small as can be, and has arrays of more than so many lines replaced in steps, until the test ends
// that calls it back.
func Pace(small int) (back func()) {
	was := pace
	pace.clear, pace.move, pace.small = 2, 1, small
	return func() { pace = was }
}

// Glimpse looks without the lock, once; not ok if that is not to be done.
func Glimpse(b *Bytes, key []byte) (value []byte, found, ok bool) {
	q := lookup{key: key, h: hashOf(key, b.t.seed)}
	value, ok = b.t.glanceOnce(&q)
	return value, q.found, ok
}

// PartOf is the partition of a key.
func PartOf(b *Bytes, key []byte) int { return b.t.partOf(hashOf(key, b.t.seed)) }

func (t *core) glanceOnce(q *lookup) (out []byte, ok bool) {
	_ = t.contained(func() error {
		out, ok = t.readOptimisticOnce(q)
		return nil
	})
	return out, ok
}
