package cache

import (
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/shmsync"
)

// What is counted.
const (
	hits = iota
	misses
	stales
	sets
	deletes
	loads
	failures
	tooLarge
)

// Counts are of what sessions have done.
type Counts struct {
	Hits, Misses uint64 // lookups, by Get or Load
	Stale        uint64 // lookups by Load that got an entry beyond its TTL
	Sets         uint64 // that stored an entry, those of loads included
	Deletes      uint64
	Loads        uint64 // runs of a loader
	LoadFailures uint64 // of these, without a value
	TooLarge     uint64 // values that were refused
}

func countsOf(n [countOfRows]uint64) Counts {
	return Counts{n[hits], n[misses], n[stales], n[sets], n[deletes], n[loads], n[failures], n[tooLarge]}
}

// HitRate returns which part of the lookups were hits, those that got a stale entry included; 0 if there was none.
func (c Counts) HitRate() float64 {
	if c.Hits+c.Misses == 0 {
		return 0
	}
	return float64(c.Hits) / float64(c.Hits+c.Misses)
}

// SessionStats are the counts of one session.
type SessionStats struct {
	Session shmsync.Peer
	Alive   bool
	Counts
}

// Stats are counts of a cache since it was made.
type Stats struct {
	Limit   int64 // bytes that it may use
	Used    int64 // bytes of records, with what is dead in them, headers and rounding
	Entries int   // one that has expired counts until it is found

	Total    Counts         // of all sessions, past ones included
	Sessions []SessionStats // those that have rows, dead ones until their row is used again
	// Loading are the living sessions that run a loader now, each once for each key. Callers of Load may wait for them.
	Loading []shmsync.Peer

	// Entries that went, by cause, since the cache was made. Each is counted when it is noticed.
	Evicted  uint64 // to make room, with those below
	Forced   uint64 // of these, without being judged, since one Set would have had to walk too far
	Crowded  uint64 // of these, since both index lines of a key were full
	Expired  uint64
	Outdated uint64 // by DeleteTag, or since they were idle
	Deleted  uint64
	Purged   uint64
	Lost     uint64 // records, extents or lines that a stray store had hit

	Refused  uint64 // values that were loaded and not stored, since the key was changed meanwhile
	Repaired uint64 // repairs after a death, or a stray store
	Window   int    // percent of the limit that are for new entries now
}

// Stats returns counts. It takes no lock: each is of some moment of the call. What other processes did in the last
// tenth of a second may not be in it.
func (c *Cache) Stats() (s Stats, err error) {
	if err := c.errIfNotReady(); err != nil || c.off {
		return s, err
	}
	c.flush()
	limit := c.Limit()
	if s, err = c.stats(); err == nil && c.over.Err() != nil {
		err = errEnded
	}
	if err != nil {
		return Stats{}, c.cacheError("count", err)
	}
	s.Limit = limit
	return s, nil
}

// stats returns the counts that are in the memory, without the limit.
func (c *Cache) stats() (s Stats, err error) {
	x := c.engine.Stats()
	s = Stats{
		Used: int64(x.Used), Entries: x.Entries,
		Evicted: x.Evicted, Forced: x.Forced, Crowded: x.Crowded, Expired: x.Expired, Outdated: x.Outdated,
		Deleted: x.Deleted, Purged: x.Purged, Lost: x.Lost, Refused: x.Refused, Repaired: x.Repaired, Window: x.Window, Loading: x.Loading,
	}
	err = fault.Contain(func() error {
		var total [countOfRows]uint64
		for i := range c.top.list {
			r := &c.top.list[i]
			word := r.peer.Load()
			if word == 0 {
				continue
			}
			var own [countOfRows]uint64
			for k := range own {
				n := r.counts[k].Load()
				total[k] += n
				own[k] = n - min(n, r.base[k].Load())
			}
			s.Sessions = append(s.Sessions, SessionStats{shmsync.PeerOf(word), c.top.sessionLives(word), countsOf(own)})
		}
		s.Total = countsOf(total)
		return nil
	})
	return s, c.view.Answer(err)
}

// counter has counts that are not yet in the session's row. It is striped, so that many goroutines can count.
type counter struct {
	stripes [16]struct {
		n [countOfRows]atomic.Uint64
		_ [64]byte
	}
	armed atomic.Bool // flush will be called
}

const flushAfter = 100 * time.Millisecond

func (c *Cache) add(key []byte, what int, n uint64) {
	i := len(key)
	if i > 0 {
		i += int(key[len(key)-1]) + int(key[len(key)/2])
	}
	c.counter.stripes[i&15].n[what].Add(n)
	if !c.counter.armed.Load() && c.counter.armed.CompareAndSwap(false, true) {
		time.AfterFunc(flushAfter, c.flush)
	}
}

// flush puts the counts of this process into the session's row.
func (c *Cache) flush() {
	if c.top == nil {
		return
	}
	c.counter.armed.Store(false)
	lease, err := c.view.Enter()
	if err != nil {
		return
	}
	defer lease.Leave()
	_ = fault.Contain(func() error {
		for i := range c.counter.stripes {
			for k := range c.counter.stripes[i].n {
				if n := c.counter.stripes[i].n[k].Swap(0); n > 0 {
					c.top.own.counts[k].Add(n)
				}
			}
		}
		return nil
	})
}

func (c *Cache) count(key []byte, found bool) {
	if found {
		c.add(key, hits, 1)
	} else {
		c.add(key, misses, 1)
	}
}
