package caches

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/trace"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/supervisor"
)

// replayer replays traces through caches of a private instance. Each trace has a session of its own.
type replayer struct {
	replaySpec
	sup      *supervisor.Supervisor
	sessions []*dsm.Session
	value    []byte
	out      []byte
}

// keyLength is how many bytes a key has.
const keyLength = 8

// What an entry takes beside its key and value, about, and how large a cache should be for its extents to be many.
const (
	recordHeader  = 16
	entryOverhead = 52
	fineLimit     = 4 << 20
)

func (a *app) replay(ctx context.Context, spec *replaySpec) (result ReplayResult, err error) {
	r := &replayer{replaySpec: *spec}
	config := a.Config
	config.Dir = ""
	if r.sup, err = supervisor.StartPrivate(ctx, config); err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, r.sup.Stop()) }()
	st, err := r.sup.Status(ctx)
	if err != nil {
		return result, err
	}
	config.Dir = st.Dir
	for range r.traces {
		s, err := dsm.Open(ctx, config)
		if err != nil {
			return result, err
		}
		defer s.Close()
		r.sessions = append(r.sessions, s)
	}
	r.unique = trace.Unique(r.traces...)
	if r.entries > 0 {
		return r.search(ctx)
	}
	if !r.sizeGiven {
		r.size = 200
	}
	return r.run(ctx, r.limit)
}

// tries is how often search replays, and near how far from the wanted number of entries it ends early.
const (
	tries = 8
	near  = 1.0 / 400
)

// search replays with limits that come closer to the one with which there are as many entries as wanted. The limit moves by
// extents, so it does not always come to the very number.
func (r *replayer) search(ctx context.Context) (best ReplayResult, err error) {
	if !r.sizeGiven {
		// As large as a record may be in a cache of the smallest size, but for a large cache.
		r.size = min(max(fineLimit/r.entries-entryOverhead-keyLength, 200), 1900)
	}
	mean := float64(r.size)
	if r.sized() {
		mean = r.meanSize()
	}
	limit := float64(r.entries) * (mean + keyLength + entryOverhead)
	distance := math.Inf(1)
	for range tries {
		limit = min(max(limit, cache.MinLimit), cache.MaxLimit)
		got, err := r.run(ctx, int64(limit))
		if err != nil {
			return got, err
		}
		d := math.Abs(float64(got.Entries)/float64(r.entries) - 1)
		if d < distance {
			best, distance = got, d
		}
		if d <= near || got.Evictions == 0 && r.entries >= r.unique {
			break
		}
		next := float64(got.Limit) * float64(r.entries) / float64(max(got.Entries, 1))
		if int64(next) == got.Limit || next < cache.MinLimit && got.Limit == cache.MinLimit {
			break
		}
		limit = next
	}
	if distance > 0.02 && r.entries < r.unique {
		return best, fmt.Errorf("no cache has %d entries on the average: with a limit of %d bytes there are %d; a cache has %d bytes "+
			"at the least; use --size for larger values, or more entries", r.entries, best.Limit, best.Entries, cache.MinLimit)
	}
	return best, nil
}

// sized reports whether the traces say how large values are.
func (r *replayer) sized() bool { return r.traces[0].Sizes != nil && !r.sizeGiven }

// meanSize is that of the values of all keys, each as its first access says.
func (r *replayer) meanSize() float64 {
	seen, sum := map[uint64]struct{}{}, 0.0
	for _, t := range r.traces {
		for i, k := range t.Keys {
			if _, ok := seen[k]; !ok {
				seen[k] = struct{}{}
				sum += float64(t.Sizes[i])
			}
		}
	}
	return sum / float64(max(len(seen), 1))
}

// run replays once.
func (r *replayer) run(ctx context.Context, limit int64) (result ReplayResult, err error) {
	caches, remove, err := r.open(ctx, limit)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	result = ReplayResult{Unique: r.unique, Limit: limit}
	for _, t := range r.traces {
		result.Accesses += len(t.Keys)
	}
	look := max(result.Accesses/10_000, 10)
	sum, looks := 0, 0
	n := 0
	for i := 0; n < result.Accesses; i++ {
		for k, t := range r.traces {
			if i >= len(t.Keys) {
				continue
			}
			hit, err := r.access(ctx, caches[k], &t, i)
			if err != nil {
				return result, err
			}
			if hit {
				result.Hits++
			}
			if n++; n%look == 0 {
				if ctx.Err() != nil {
					return result, context.Cause(ctx)
				}
				s, err := caches[0].Stats()
				if err != nil {
					return result, err
				}
				if s.Evicted > 0 {
					sum += s.Entries
					looks++
				}
			}
		}
	}
	s, err := caches[0].Stats()
	if err != nil {
		return result, err
	}
	result.Evictions, result.Entries = s.Evicted, s.Entries
	if looks > 0 {
		result.Entries = int(math.Round(float64(sum) / float64(looks)))
	}
	if result.Bytes, err = r.bytesOf(ctx, caches[0], result.Entries); err != nil {
		return result, err
	}
	result.HitRate = float64(result.Hits) / float64(max(result.Accesses, 1))
	return result, nil
}

// bytesOf returns the bytes of the keys and values of so many entries.
func (r *replayer) bytesOf(ctx context.Context, c *cache.Cache, entries int) (int64, error) {
	if !r.sized() {
		return int64(entries) * int64(r.size+keyLength), nil
	}
	rep, err := c.Verify(ctx)
	return int64(rep.Live-rep.Entries*recordHeader) * int64(entries) / int64(max(rep.Entries, 1)), err
}

// access is a get, and a set on a miss. It reports whether it was a hit.
func (r *replayer) access(ctx context.Context, c *cache.Cache, t *trace.Trace, i int) (bool, error) {
	var key [keyLength]byte
	binary.BigEndian.PutUint64(key[:], t.Keys[i])
	out, hit, err := c.Get(key[:], r.out[:0])
	r.out = out
	if hit || err != nil {
		return hit, err
	}
	size := r.size
	if r.sized() {
		size = int(t.Sizes[i])
	}
	if size > c.MaxValue() {
		return false, nil
	}
	if size > len(r.value) {
		r.value = make([]byte, size)
	}
	return false, c.Set(ctx, key[:], r.value[:size])
}

// open makes a cache and opens it in each session. Remove closes and deletes it.
func (r *replayer) open(ctx context.Context, limit int64) (list []*cache.Cache, remove func() error, err error) {
	remove = func() (err error) {
		for _, c := range list {
			err = errors.Join(err, c.Close())
		}
		return errors.Join(err, registry.Delete(context.WithoutCancel(ctx), r.sessions[0], replayed))
	}
	for _, s := range r.sessions {
		c, err := cache.Open(ctx, s, replayed, cache.Options{Limit: limit, Objects: r.objects})
		if err != nil {
			if len(list) > 0 {
				err = errors.Join(err, remove())
			}
			return nil, nil, err
		}
		list = append(list, c)
	}
	return list, remove, nil
}

// replayed is the name of the cache.
const replayed = "replayed"
