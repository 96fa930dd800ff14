package parts

import (
	"errors"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm/logcache"
)

// ours is our cache as one session sees it.
type ours struct {
	*logcache.Cache
	g   *dsm.Segment
	dir string // of the instance
	end func() error
}

// newOurs is a cache in an instance of its own.
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

// newOursIn is a cache in that instance.
func newOursIn(w *world, limit int) (*ours, error) {
	g, err := w.Create(ctx, w.Owner(), limit)
	if err != nil {
		return nil, err
	}
	c, err := logcache.Create(g.Region(), w.Self(), logcache.Options{})
	return &ours{Cache: c, g: g, dir: w.dir, end: func() error { return nil }}, err
}

// joinOurs is the cache of another process.
func joinOurs(dir, handle string) (*ours, error) {
	s, err := dsm.Open(ctx, dsm.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	o, _, err := attachOurs(s, handle)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	o.dir, o.end = dir, s.Close
	return o, nil
}

// attachOurs attaches a cache in a session.
func attachOurs(s *dsm.Session, handle string) (o *ours, detach func() error, err error) {
	h, err := dsm.ParseHandle(handle)
	if err != nil {
		return nil, nil, err
	}
	g, err := s.Attach(ctx, s.Owner(), h)
	if err != nil {
		return nil, nil, err
	}
	c, err := logcache.Attach(g.Region(), s.Self(), logcache.Options{})
	return &ours{Cache: c, g: g}, func() error { c.Close(); return g.Detach() }, err
}

func (o *ours) Set(key, value []byte) error { return o.Cache.Set(ctx, key, value, 0) }

func (o *ours) Close() error { o.Cache.Close(); return o.end() }

// handle is by which others find it.
func (o *ours) handle() string { return o.g.Handle().String() }

// count walks the cache: how many entries it has, and how many bytes their records and the log have.
func (o *ours) count() (entries, live, log int, err error) {
	r, err := o.Verify(ctx)
	return r.Entries, r.Live, r.Log, err
}
