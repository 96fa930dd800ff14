package survey

import (
	"bytes"

	"github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// Reader returns the bytes of a segment, as the function that dsm.Look hands out. They are valid as long as its are.
type Reader = func(dsm.Handle) ([]byte, error)

// ReadCache returns the counts and the curve of the cache of a name. Alive reports whether a session lives.
func ReadCache(x registry.Info, read Reader, alive func(shmsync.Peer) bool) (s cache.Stats, curve []cache.Point, err error) {
	b, err := read(x.Handle)
	if err != nil {
		return s, nil, err
	}
	return cache.Read(shm.NewRegion(b), x.Version, alive)
}

// ReadLocks returns what looks into the lock table of a name, as long as the bytes are valid.
func ReadLocks(x registry.Info, read Reader) (*locktable.Looker, error) {
	s, err := dsa.Look(uint64(x.Handle), func(h uint64) ([]byte, error) { return read(dsm.Handle(h)) })
	if err != nil {
		return nil, err
	}
	return locktable.Look(s.Peek, x.Table)
}

// ReadQueue returns the counts of the queue of a name. It reads a copy, which no process changes under it.
func ReadQueue(x registry.Info, read Reader) (s shared.Stats, err error) {
	b, err := read(x.Handle)
	if err != nil {
		return s, err
	}
	return shared.Read(shm.NewRegion(bytes.Clone(b)))
}
