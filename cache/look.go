package cache

import (
	"github.com/godsm/godsm/internal/fault"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// Kind is what registry.Names calls a cache.
const Kind = "cache"

// Look returns the counts of the cache that lies in b, and its curve, for a process that has nothing to do with it: dsm.Look has
// such bytes. It takes no lock and stores nothing, so memory that can only be read will do. Version is that of the name. The
// counts of single sessions are not among them.
func Look(b []byte, version uint64) (s Stats, curve []Point, err error) {
	defer fault.Return(&err, fault.Catch())
	c := &Cache{options: Options{Version: version}}
	none := shmsync.Self{ // nothing is stored under its name
		Peer: shmsync.Peer{Row: shmsync.MaxRows - 1}, Alive: func(shmsync.Peer) bool { return true },
	}
	if err := c.find(shm.NewRegion(b), none); err != nil {
		return s, nil, err
	}
	defer c.engine.Close()
	s = c.engineStats()
	err = fault.Contain(func() error {
		var total [countOfRows]uint64
		for i := range c.top.list {
			for k := range total {
				total[k] += c.top.list[i].counts[k].Load()
			}
		}
		s.Total = countsOf(total)
		s.Limit = int64(c.engine.Limit() + c.above())
		return nil
	})
	return s, c.engine.Curve(), err
}
