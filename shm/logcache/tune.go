package logcache

import (
	"math/bits"

	"github.com/godsm/godsm/internal/eviction"
	"github.com/godsm/godsm/internal/sys/fault"
)

// Every Get of a sampled key leaves the key's hash in a ring, and Sets of one process, the tuner's, feed it to models
// and store the setting that has served them best. The models are in that process's own memory. If it stops to read
// the ring, because it died or sets nothing any more, another becomes the tuner, and begins anew.
//
//	bits 0-7 of the word    setting
//	bits 8-15               of how many hashes one is sampled, as a power of two
//	bit 16                  there are samples

const (
	tuningOn    = 1 << 16
	leastRate   = 64
	drainAtOnce = 16
)

// setting returns the index of the policy's setting.
func (c *Cache) setting() int { return int(c.head.tuning.Load()&0xff) % len(eviction.Settings) }

// windowShare returns the window's percent of the limit.
func (c *Cache) windowShare() int { return eviction.Settings[c.setting()].Percent }

// sample leaves a hash for the tuner, if it is one of the sample. The ring forgets what is not read in time.
func (c *Cache) sample(h hash) {
	word := c.head.tuning.Load()
	if word&tuningOn == 0 || !eviction.Sampled(uint64(h), 1<<(word>>8&31)) {
		return
	}
	n := c.head.written.Add(1)
	c.head.samples[n%sampleCount].Store(uint64(h))
}

// tune is called by each Set, without a lock of the cache. It feeds some samples to the tuner, if this process has it,
// and takes it, if no process reads the ring.
func (c *Cache) tune() {
	if c.objects {
		return
	}
	defer fault.Ignore(fault.Catch())
	h := c.head
	written, read, me := h.written.Load(), h.read.Load(), c.self.Peer.Word()
	if h.tuner.Load() == me && h.tuning.Load()&tuningOn != 0 && written == read || !c.tuning.TryLock() {
		return
	}
	defer c.tuning.Unlock()
	owner := h.tuner.Load()
	switch {
	case owner == me && c.tuning.tuner != nil:
	case h.tuning.Load()&tuningOn == 0 && !c.hasDropped():
		return
	case owner != 0 && owner != me && !c.ringUnread(written, read):
		c.tuning.tuner = nil
		return
	default:
		if !c.beginTuner() || !h.tuner.CompareAndSwap(owner, me) {
			c.tuning.tuner = nil
			return
		}
		h.read.Store(written)
		return
	}
	if written-read > sampleCount {
		read = written - sampleCount
	}
	for n := 0; n < drainAtOnce && read != written; n++ {
		read++
		x := h.samples[read%sampleCount].Load()
		if !eviction.Sampled(x, c.tuning.rate) {
			continue // of an earlier rate
		}
		setting := uint64(c.tuning.tuner.Access(x))
		c.plot(x)
		if word := h.tuning.Load(); word&0xff != setting {
			h.tuning.Store(word&^0xff | setting)
		}
		if c.tuning.seen++; c.tuning.seen%(4*c.tuning.tuner.Entries()) == 0 && !c.modelsFit() && !c.beginTuner() {
			break
		}
	}
	h.read.Store(read)
}

// ringUnread reports whether no session has read the ring while it was filled some times over.
func (c *Cache) ringUnread(written, read uint64) bool {
	if read != c.tuning.read {
		c.tuning.read, c.tuning.written = read, written
	}
	return written-c.tuning.written > 4*sampleCount
}

// hasDropped reports whether entries have been dropped.
func (c *Cache) hasDropped() bool { return c.shards[0].evicted.Load() > 0 }

// entries returns how many there are, from one shard.
func (c *Cache) entries() int {
	return int(min(c.shards[0].entries.Load(), uint64(c.limit))) * c.nshards
}

// modelsFit reports whether the models are about as large as they should be.
func (c *Cache) modelsFit() bool {
	n, have := c.entries(), c.tuning.tuner.Entries()*c.tuning.rate
	return n < have+have/4 && n > have-have/4
}

// beginTuner makes models for the cache as it is now, and reports whether there is a tuner: where they would be too
// small to tell anything there is none.
func (c *Cache) beginTuner() bool {
	n := c.entries()
	rate := eviction.Rate(n, leastRate)
	if c.tuning.tuner = nil; n/rate < eviction.MinModel {
		if c.head.tuning.Load() != eviction.Untuned {
			c.head.tuning.Store(eviction.Untuned)
		}
		return false
	}
	word := c.head.tuning.Load()
	c.beginCurve(n/rate, int(word&0xff)%len(eviction.Settings))
	c.tuning.tuner, c.tuning.rate, c.tuning.seen = eviction.NewTuner(n/rate, int(word&0xff)%len(eviction.Settings)), rate, 0
	c.head.tuning.Store(word&0xff | uint64(bits.TrailingZeros(uint(rate)))<<8 | tuningOn)
	return true
}

// plotRate is of how many samples one goes to the models for the curve.
const plotRate = 2

// curveTimes are the sizes of these models, as parts of the cache's.
var curveTimes = [curvePoints]float64{0.5, 1, 2, 4}

// beginCurve makes the models for the curve anew. What they have counted goes, too.
func (c *Cache) beginCurve(entries, setting int) {
	for i, times := range curveTimes {
		n := max(int(float64(entries/plotRate)*times), 1)
		c.tuning.curve[i] = eviction.NewModel(int64(n), n, eviction.Settings[setting])
		c.head.curve[i].Store(0)
	}
	c.head.curve[curvePoints].Store(0)
	c.tuning.warm = false
}

// plot looks a sample up in the models for the curve. Old counts fade.
func (c *Cache) plot(x uint64) {
	if !eviction.Sampled(x, c.tuning.rate*plotRate) || c.tuning.curve[0] == nil {
		return
	}
	curve := &c.head.curve
	for i, m := range c.tuning.curve {
		if m.Access(x, 1) {
			curve[i].Add(1)
		}
	}
	of := uint64(2) // counts fade
	switch m := c.tuning.curve[1]; {
	case !c.tuning.warm && int64(m.Len()) >= m.Limit(): // what came before says little
		c.tuning.warm, of = true, 1<<63
	case curve[curvePoints].Add(1) < fadeAt:
		return
	}
	for i := range curve {
		curve[i].Store(curve[i].Load() / of)
	}
}

// Point is one of a curve: what part of the lookups a cache of so many times the size would hit.
type Point struct {
	Times   float64
	HitRate float64
}

// Curve returns what larger and smaller caches would hit, as models of them say that see a sample of the keys. It is
// empty while too little is known, and for a cache of too few entries.
func (c *Cache) Curve() (list []Point) {
	if c.view.Ended() {
		return nil
	}
	err := fault.Contain(func() error {
		n := c.head.curve[curvePoints].Load()
		if n < leastPlotted {
			return nil
		}
		for i, times := range curveTimes {
			list = append(list, Point{times, min(float64(c.head.curve[i].Load())/float64(n), 1)})
		}
		return nil
	})
	if c.orClosed(err) != nil {
		return nil
	}
	return list
}

const (
	leastPlotted = 500
	fadeAt       = 1 << 14
)

// policyLocked returns the shard's policy. It runs under the shard's lock.
func (t *turn) policyLocked() eviction.Policy {
	c, i := t.c, t.i
	return eviction.Policy{
		Setting: eviction.Settings[c.setting()],
		Objects: c.objects,
		Sketch:  c.sketchOf(i),
		Ghost:   c.ghostOf(i),
	}
}

func (c *Cache) sketchOf(i int) eviction.Sketch {
	return eviction.NewSketch(c.sketch[i*c.nsketch:(i+1)*c.nsketch], &c.shards[i].sketch)
}

func (c *Cache) ghostOf(i int) eviction.Ghost {
	return eviction.NewGhost(c.ghost[i*c.nghost:(i+1)*c.nghost], &c.shards[i].ghost)
}
