package logcache

import (
	"sync/atomic"

	"github.com/godsm/godsm/internal/sys/ordered"
)

// held64 is a word that only the holder of its shard's lock stores; every process loads it at any time. So a store needs
// to be whole and in its order, and no more: it does not wait for those before it, some of which go to lines that the
// processor has still to fetch. The unlock waits for all of them.
type held64 struct{ word atomic.Uint64 }

// held32 is held64 for a word of 32 bits.
type held32 struct{ word atomic.Uint32 }

func (h *held64) Load() uint64   { return h.word.Load() }
func (h *held64) Store(v uint64) { ordered.Store64(&h.word, v) }
func (h *held64) Add(n uint64)   { h.Store(h.Load() + n) }
func (h *held32) Load() uint32   { return h.word.Load() }
func (h *held32) Store(v uint32) { ordered.Store32(&h.word, v) }
func (h *held32) Add(n uint32)   { h.Store(h.Load() + n) }
