package logcache_test

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/logcache"
)

var (
	stormKills = flag.Int("kills", 20, "how many processes TestStorm kills on each backend")
	stormTime  = flag.Duration("storm", 0, "over what time TestStorm spreads the kills; no call may then take more than 100 ms")
)

// stormBook lies in a segment of its own: what the workers have done, also those that were killed.
type stormBook struct {
	Gets, Hits, Sets, Deletes atomic.Uint64
	Wrong                     atomic.Uint64   // values that are torn or another key's
	Slowest                   [3]atomic.Int64 // ns, of a Get, a Set of up to an eighth of an extent, a Delete
	Slow                      atomic.Uint64   // calls that took more than 100 ms
}

func (b *stormBook) note(what int, took time.Duration) {
	for {
		old := b.Slowest[what].Load()
		if int64(took) <= old || b.Slowest[what].CompareAndSwap(old, int64(took)) {
			break
		}
	}
	if took > 100*time.Millisecond {
		b.Slow.Add(1)
	}
}

func init() { proctest.Register("storm", storm) }

// storm uses the cache until it is killed, and checks each value: DIR HANDLE BOOK KEYS SEED.
func storm(p *proctest.Child) error {
	runtime.GOMAXPROCS(2)
	c, s, err := found(p.Args, logcache.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	book, err := attachBook(s, p.Args[2])
	if err != nil {
		return err
	}
	keys, err := strconv.Atoi(p.Args[3])
	if err != nil {
		return err
	}
	seed, err := strconv.Atoi(p.Args[4])
	if err != nil {
		return err
	}
	p.Say("on")
	r := rand.New(rand.NewPCG(uint64(seed), 9))
	var buf []byte
	for n := 0; ; n++ {
		k := int(float64(keys) * r.Float64() * r.Float64())
		what := r.IntN(20)
		size := r.IntN(600)
		if r.IntN(100) == 0 {
			size = r.IntN(1900)
		}
		large := r.IntN(2000) == 0
		if large {
			size = 2000 + r.IntN(60_000)
		}
		value := text(k, n, size)
		begin, kind := time.Now(), 0
		switch {
		case what < 5:
			kind = 1
			book.Sets.Add(1)
			err = c.Set(ctx, name(k), value, 0)
		case what == 5:
			kind = 2
			book.Deletes.Add(1)
			_, err = c.Delete(ctx, name(k))
		default:
			var is bool
			book.Gets.Add(1)
			if buf, is, err = c.Get(name(k), buf[:0]); is && err == nil {
				book.Hits.Add(1)
				if err = check(k, buf); err != nil {
					book.Wrong.Add(1)
				}
			}
		}
		if kind != 1 || !large {
			book.note(kind, time.Since(begin))
		}
		if err != nil {
			return err
		}
	}
}

func attachBook(s *dsm.Session, handle string) (*stormBook, error) {
	h, err := dsm.ParseHandle(handle)
	if err != nil {
		return nil, err
	}
	g, err := s.Attach(ctx, s.Owner(), h)
	if err != nil {
		return nil, err
	}
	return shm.At[stormBook](g.Region(), 0)
}

// TestStorm kills processes at any instruction while they and others use the cache. No value is ever torn or another
// key's, what lies on the mount is never more than the limit, and afterwards all is in order: every slot leads to a
// record, every extent is free or in one log, and the counts are those of a walk.
func TestStorm(t *testing.T) {
	n, limit, workers, keys := *stormKills, 2<<20, 3, 6000
	if testing.Short() {
		n = min(n, 4)
	}
	if *stormTime > 0 {
		limit, workers, keys = 64<<20, 8, 200_000
	}
	instancetest.Each(t, func(t *testing.T, backend string) {
		c, s, args := made(t, backend, limit)
		g, err := s.Create(ctx, s.Owner(), 4096)
		must(t, err)
		book, err := attachBook(s, g.Handle().String())
		must(t, err)
		args = append(args, g.Handle().String(), strconv.Itoa(keys))
		list := make([]*proctest.Process, workers)
		start := func(i, seed int) {
			list[i] = proctest.Start(t, "storm", append(args, strconv.Itoa(seed))...)
			list[i].Expect("on")
		}
		for i := range list {
			start(i, i)
		}
		begin := time.Now()
		r := rand.New(rand.NewPCG(1, 1))
		for kill := range n {
			i := r.IntN(workers)
			list[i].Kill()
			if *stormTime == 0 || kill%100 == 0 {
				clean(t, c)
			}
			for range 6000 / workers {
				k := r.IntN(keys)
				v, found, err := c.Get(name(k), nil)
				must(t, err)
				if found {
					must(t, check(k, v))
				}
			}
			if segments, err := s.Segments(ctx); err != nil || sizeOf(segments) > limit+8192 { // and the book
				t.Errorf("the segments have %d bytes, and the limit is %d: %v", sizeOf(segments), limit, err)
			}
			start(i, kill+100)
			time.Sleep(time.Until(begin.Add(*stormTime * time.Duration(kill) / time.Duration(n)))) // not to wait for anything: to spread the kills
		}
		took := time.Since(begin)
		for _, p := range list {
			p.Kill()
			if s := p.Stderr(); s != "" {
				t.Error(s)
			}
		}
		rep := clean(t, c)
		t.Logf("%d kills in %v: %d gets, %d hits, %d sets, %d deletes; slowest %v %v %v; %d calls over 100 ms", n, took.Round(time.Second),
			book.Gets.Load(), book.Hits.Load(), book.Sets.Load(), book.Deletes.Load(), time.Duration(book.Slowest[0].Load()),
			time.Duration(book.Slowest[1].Load()), time.Duration(book.Slowest[2].Load()), book.Slow.Load())
		t.Logf("%+v, %+v", c.Stats(), rep)
		if c.Stats().Lost != 0 || book.Wrong.Load() != 0 {
			t.Errorf("%d records are lost, %d values were wrong", c.Stats().Lost, book.Wrong.Load())
		}
		if *stormTime > 0 && book.Slow.Load() > 0 {
			t.Errorf("%d calls took more than 100 ms", book.Slow.Load())
		}
	})
}

func sizeOf(list []dsm.SegmentInfo) (n int) {
	for _, g := range list {
		n += g.Size
	}
	return n
}
