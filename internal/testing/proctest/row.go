package proctest

import (
	"sync/atomic"

	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/godsm/godsm/shm/shmsync"
)

// Enter makes this process the one of a row, as joining an instance would: it takes the row's
// place in the file members, which is its witness until roll is closed or the process ends, and
// the row's next incarnation. Who of the others lives it asks that file.
func Enter(members string, row int, incarnations []atomic.Uint32) (self shmsync.Self, roll *liveness.Roll, err error) {
	if roll, err = liveness.Open(members); err != nil {
		return self, nil, err
	}
	for ok := false; !ok; { // the last one's death may not have been noticed
		if ok, err = roll.Take(row); err != nil {
			return self, nil, err
		}
	}
	self.Peer = shmsync.Peer{Row: row, Incarnation: incarnations[row].Add(1)}
	self.Alive = func(p shmsync.Peer) bool {
		return p.Row >= 0 && p.Row < len(incarnations) && incarnations[p.Row].Load() == p.Incarnation &&
			roll.Held(p.Row)
	}
	return self, roll, nil
}
