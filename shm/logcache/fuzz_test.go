package logcache_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/tape"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/logcache"
)

// FuzzHostile has two sessions use a cache while a neighbour stores anything anywhere in it but into the locks,
// between the calls and before one attaches: each call has an answer or an error of a known kind and comes to an end,
// and what a checked Get returns was once set to that key.
func FuzzHostile(f *testing.F) {
	tape.Seed(f, 16, 600)
	f.Fuzz(func(t *testing.T, data []byte) { hostile(t, tape.New(data)) })
}

func known(err error) bool {
	for _, kind := range []error{logcache.ErrCorrupt, logcache.ErrNotFound, logcache.ErrMismatch, logcache.ErrVersion,
		logcache.ErrSize, logcache.ErrClosed} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return err == nil
}

func hostile(t *testing.T, tp *tape.Tape) {
	slow := time.AfterFunc(time.Minute, func() { panic("a call does not come to an end") })
	defer slow.Stop()
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	memory := slices.Clone(filled())
	r := shm.NewRegion(logcache.BytesOf(memory))
	words := logcache.WordsOf(r)
	now := uint32(1)
	o := logcache.Options{Checked: true, Now: func() uint32 { return now }}
	first, err := logcache.Attach(r, self(1), o)
	must(t, err)
	defer first.Close()
	guests := [2]*logcache.Cache{first, nil}
	guests[1], err = logcache.Attach(r, self(2), o)
	must(t, err)
	note := func(call string, err error) {
		t.Helper()
		if !known(err) {
			t.Errorf("%s: %v", call, err)
		}
	}
	parts := logcache.Parts(first)
	for n := 0; tp.More() && n < 300; n++ {
		c := guests[tp.Below(2)]
		k := tp.Below(250) * 36
		switch tp.Below(14) {
		case 0, 1:
			for range 20 {
				note("Set", c.Set(ctx, name(k), text(k, 2, 20+tp.Below(200)), uint32(tp.Below(3))*now))
				k++
			}
		case 2:
			note("Set of pieces", c.Set(ctx, name(k), text(k, 3, 10_000+tp.Below(250)*400), 0))
		case 3:
			_, err := c.Delete(ctx, name(k))
			note("Delete", err)
		case 4, 5, 6:
			c.Prefetch([][]byte{name(k), name(k + 1), name(k + 2)})
			for range 20 {
				v, found, err := c.Get(name(k), nil)
				note("Get", err)
				if found {
					if err := check(k, v); err != nil {
						t.Error(err)
					}
				}
				k++
			}
		case 7:
			_, err := c.Verify(ctx)
			note("Verify", err)
			_ = c.Stats()
		case 8:
			now++
			logcache.Dirty(c)
		case 9:
			next, err := logcache.Attach(r, self(2), o)
			if note("Attach", err); err == nil {
				guests[1].Close()
				guests[1] = next
			}
		default:
			stray(tp, first, words, parts)
		}
	}
	if ctx.Err() != nil {
		t.Error("a call waited, or went round in circles")
	}
	guests[1].Close()
}

// filled is the memory of a cache with so many entries that the log is full, and the index has grown.
var filled = sync.OnceValue(func() []uint64 {
	memory := make([]uint64, 1<<20/8)
	c, err := logcache.Create(shm.NewRegion(logcache.BytesOf(memory)), self(3), logcache.Options{})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	for k := range 9000 {
		if err := c.Set(ctx, name(k), text(k, 1, 20+k%200), 0); err != nil {
			panic(err)
		}
	}
	return memory
})

// stray stores something somewhere, but into the locks, which are tried elsewhere.
func stray(tp *tape.Tape, c *logcache.Cache, words []atomic.Uint64, parts []int) {
	part := tp.Below(len(parts) - 1)
	from, to := parts[part], parts[part+1]
	if part == 1 { // the first shards' own words
		to = min(to, from+1024)
	}
	at := (from + int(tp.Word()%uint64(to-from))) &^ 7
	if logcache.InLock(c, at) {
		return
	}
	w := &words[at/8]
	switch tp.Below(5) {
	case 0:
		w.Store(tp.Word())
	case 1:
		w.Store(uint64(tp.Below(256)))
	case 2:
		w.Store(w.Load() ^ 1<<tp.Below(64))
	case 3:
		w.Store(words[tp.Word()%uint64(len(words))].Load())
	case 4: // a neighbour of its own kind
		o := (from + int(tp.Word()%uint64(to-from))) &^ 7
		w.Store(words[o/8].Load())
	}
}
