package parts

import (
	"errors"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
)

// ours is our cache as one session sees it.
type ours struct {
	*cache.Cache
	dir string // of the instance
	end func() error
}

const oursName = "bench"

// newOurs makes a cache in an instance of its own.
func newOurs(limit int) (*ours, error) {
	w, err := newWorld(nil)
	if err != nil {
		return nil, err
	}
	o, err := newOursIn(w, limit)
	if err != nil {
		return nil, errors.Join(err, w.end())
	}
	o.end = w.end
	return o, nil
}

// newOursIn makes a cache in that instance.
func newOursIn(w *world, limit int) (*ours, error) {
	o, err := openOurs(w.Session, limit)
	if err != nil {
		return nil, err
	}
	o.dir, o.end = w.dir, func() error { return nil }
	return o, nil
}

// joinOurs joins the cache of another process.
func joinOurs(dir string) (*ours, error) {
	s, err := dsm.Open(ctx, dsm.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	o, err := openOurs(s, cache.MinLimit)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	o.dir, o.end = dir, s.Close
	return o, nil
}

// openOurs opens the cache in a session; limit is for the first one.
func openOurs(s *dsm.Session, limit int) (*ours, error) {
	c, err := cache.Open(ctx, s, oursName, cache.Options{Limit: int64(limit)})
	return &ours{Cache: c}, err
}

func (o *ours) Set(key, value []byte) error { return o.Cache.Set(ctx, key, value) }

func (o *ours) Close() error { return errors.Join(o.Cache.Close(), o.end()) }

// count walks the cache: how many entries it has, and how many bytes their records and the log have.
func (o *ours) count() (entries, live, log int, err error) {
	r, err := o.Verify(ctx)
	return r.Entries, r.Live, r.Log, err
}
