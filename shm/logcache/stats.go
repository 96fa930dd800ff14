package logcache

import (
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/shmsync"
)

// Stats are counts since the cache was made, by all processes.
type Stats struct {
	Entries  int    // now; one that has expired counts until it is found
	Evicted  uint64 // dropped to make room, with those below
	Forced   uint64 // of these, dropped without being judged, since a Set had walked as far as it may
	Crowded  uint64 // of these, dropped since both lines of a key were full
	Expired  uint64
	Outdated uint64 // that bore a tag which was deleted, or were idle too long, when they were found
	Deleted  uint64
	Purged   uint64
	Refused  uint64 // values that were loaded and not stored, since the key had been changed meanwhile
	Lost     uint64 // records, extents or lines that a neighbour had written over
	Repaired uint64 // repairs of shards
	Window   int    // percent of the limit that the window has now
	Used     int    // bytes of the logs, with what is dead in them

	Loading []shmsync.Peer // the living sessions that load a key now, each once for each key
}

// Stats returns counts. It takes no lock: each is of some moment of the call. After the end they are 0.
func (c *Cache) Stats() (s Stats) {
	if c.view.Ended() {
		return s
	}
	err := fault.Contain(func() error {
		for i := range c.shards {
			x := &c.shards[i]
			s.Entries += int(x.entries.Load())
			for l := range x.logs {
				s.Used += c.used(&x.logs[l])
			}
			s.Evicted += x.evicted.Load()
			s.Forced += x.forced.Load()
			s.Crowded += x.crowded.Load()
			s.Expired += x.expired.Load()
			s.Outdated += x.outdated.Load()
			s.Deleted += x.deleted.Load()
			s.Purged += x.purged.Load()
			s.Refused += x.refused.Load()
			s.Lost += x.lost.Load()
			s.Repaired += x.repaired.Load()
			if x.loads.Load() > 0 {
				s.Loading = append(s.Loading, c.loadersOf(i)...)
			}
		}
		s.Window = c.windowShare()
		return nil
	})
	if c.orClosed(err) != nil {
		return Stats{}
	}
	return s
}

// used returns about how many bytes a log has.
func (c *Cache) used(lg *logWords) int {
	n, newest, most := lg.count.Load(), lg.newest.Load(), uint32(c.extent)
	if n == 0 || n > uint32(c.each) || newest == 0 || newest > uint32(c.extents()) {
		return 0
	}
	return max(int(n-1)*c.extent+int(min(c.rows[newest-1].used.Load(), most))-int(min(lg.cursor.Load(), most)), 0)
}

// loadersOf returns the sessions that load a key of a shard.
func (c *Cache) loadersOf(shard int) (list []shmsync.Peer) {
	for i := range c.loads[shard*c.nloads : (shard+1)*c.nloads] {
		w := c.loads[shard*c.nloads+i].word.Load()
		if w&loadStateMask == loading && c.loaderLives(w) {
			list = append(list, shmsync.PeerOf(w&loadPeerMask))
		}
	}
	return list
}
