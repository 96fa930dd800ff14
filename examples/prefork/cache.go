package main

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/godsm/godsm/shm/shmsync"
)

// cache is a cache that all sessions of the instance share, whoever of them comes and goes. All its memory, books included, is an area with
// a limit: so it never has a byte more, and there is no count that a death could falsify. What has not been asked for longest goes first.
type cache struct {
	area  *dsa.Area
	table *dshash.Bytes // each value begins with when it was last asked for
	root  *root
	evict *shmsync.LWLock // held by who makes room
}

// root is what everybody finds by name.
type root struct {
	Table   uint64
	Evict   shmsync.LWLockWord
	Evicted atomic.Uint64
}

func openCache(ctx context.Context, s *dsm.Session, name string, limit int64) (*cache, error) {
	area, err := registry.Area(ctx, s, name+" area", dsa.Options{Limit: limit, Initial: 1 << 20})
	if err != nil {
		return nil, err
	}
	r, err := registry.Segment(ctx, s, name, func(r *root) error {
		t, err := dshash.CreateBytes(area, dshash.Options{})
		if err == nil {
			r.Table = uint64(t.Handle())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	t, err := dshash.AttachBytes(area, dsa.Pointer(r.Table), dshash.Options{})
	return &cache{area, t, r, shmsync.NewLWLock(&r.Evict, s.Self())}, err
}

// fresh is how exact "when it was last asked for" is: so a read writes now and then only.
const fresh = time.Second

func stamp(t time.Time, b []byte) []byte {
	return append(binary.NativeEndian.AppendUint64(make([]byte, 0, 8+len(b)), uint64(t.UnixNano())), b...)
}

func age(value []byte) int64 { return int64(binary.NativeEndian.Uint64(value)) }

func (c *cache) get(ctx context.Context, key string) ([]byte, bool) {
	v, found, err := c.table.Get(ctx, []byte(key), nil)
	if err != nil || !found {
		return nil, false
	}
	if now := time.Now(); now.UnixNano()-age(v) > int64(fresh) {
		c.set(ctx, key, v[8:])
	}
	return v[8:], true
}

// set keeps the value if there is room, or room can be made. A cache may forget: there is no error.
func (c *cache) set(ctx context.Context, key string, value []byte) {
	for range 3 {
		if err := c.table.Set(ctx, []byte(key), stamp(time.Now(), value)); !errors.Is(err, dsa.ErrLimit) || !c.makeRoom(ctx) {
			return
		}
	}
}

// makeRoom lets the oldest eighth go. One process does at a time; the others do without keeping what they have.
func (c *cache) makeRoom(ctx context.Context) bool {
	guard, ok, err := c.evict.TryLock()
	if err != nil || !ok {
		return false
	}
	defer guard.Unlock()
	guard.MarkConsistent() // one that died here has left nothing half done
	var ages []int64
	for e, err := range c.table.Scan(ctx, false) {
		if err != nil {
			return false
		}
		ages = append(ages, age(e.Value()))
	}
	slices.Sort(ages)
	if len(ages) == 0 {
		return false
	}
	limit := ages[len(ages)/8]
	for e, err := range c.table.Scan(ctx, true) {
		if err != nil {
			return false
		}
		if age(e.Value()) <= limit && e.Delete() == nil {
			c.root.Evicted.Add(1)
		}
	}
	return c.area.Trim(ctx) == nil // so that others get what this process had ready for sizes that it does not want
}
