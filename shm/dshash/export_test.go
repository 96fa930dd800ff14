package dshash

import "github.com/godsm/godsm/shm/dsa"

// Lockless is whether Get goes without the lock in this build.
const Lockless = lockless

// Objects are some of those of two tables: themselves, all arrays, and the items.
func Objects[K comparable, V any](a *Table[K, V], b *Bytes) []dsa.Pointer {
	list := []dsa.Pointer{a.t.handle, b.t.handle}
	for _, t := range []*core{a.t, b.t} {
		for i := range t.parts {
			list = append(list, dsa.Pointer(t.parts[i].array.Load()))
			ls, _ := t.lines(i)
			for k := range ls {
				for slot := range ls[k].slots {
					if p := ls[k].slots[slot].Load(); p != 0 {
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
	at -= partitionsAt(p)
	return at >= 0 && at%partitionSize < versionAt
}

// Dirty makes the next in each partition repair it.
func Dirty[K comparable, V any](a *Table[K, V], b *Bytes) {
	for _, t := range []*core{a.t, b.t} {
		for i := range t.parts {
			t.parts[i].dirty.Store(1)
		}
	}
}
