package dshash

import (
	"context"
	"iter"
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
