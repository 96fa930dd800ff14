package parts

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/cache"
)

func init() {
	side.Register("cache/get", cacheGet)
	side.Register("cache/two", cacheTwo)
	side.Register("cache/get beside sets", cacheBesideSets)
	side.Register("cache/set", cacheSet)
	side.Register("cache/set timed", cacheSetTimed)
	side.Register("cache/overhead", cacheOverhead)
	side.Register("cache/waste", cacheWaste)
	side.Register("cache/attach", cacheAttach)
	side.Partner("cache", cachePartner)
	side.Partner("cache setter", cacheSetter)
}

// room returns the limit of a cache in which so many entries stay.
func room(entries int) int { return max(entries*640, 8<<20) }

// cacheGet measures a get. Arguments: NAME ENTRIES.
func cacheGet(a side.Args) (*side.Work, error) {
	n := a.Int(1)
	c, err := openCache(a.List[0], room(n))
	if err != nil {
		return nil, err
	}
	return &side.Work{Run: side.Loop(getLoop(c, n, seed)), Close: c.Close}, fill(c, 0, n)
}

// cacheTwo measures gets of two processes. Arguments: ENTRIES.
func cacheTwo(a side.Args) (*side.Work, error) {
	n := a.Int(0)
	c, err := newOurs(room(n))
	if err != nil {
		return nil, err
	}
	if err := fill(c, 0, n); err != nil {
		return nil, err
	}
	run, p, err := together("cache", a, getLoop(c, n, seed), []string{c.dir, a.List[0]})
	return &side.Work{Run: run, Close: func() error { return errors.Join(p.Close(), c.Close()) }}, err
}

// cachePartner runs the other process of cacheTwo. Arguments: DIR ENTRIES.
func cachePartner(p *side.Peer) error {
	c, err := joinOurs(p.List[0])
	if err != nil {
		return err
	}
	defer c.Close()
	return serveTogether(p, getLoop(c, p.Int(1), seed^0x9e3779b97f4a7c15))
}

// cacheBesideSets measures a get while others set. Arguments: SETTERS ENTRIES. The setters run on another CPU, and have the cache evict.
func cacheBesideSets(a side.Args) (*side.Work, error) {
	n := a.Int(1)
	c, err := newOurs(n * 320)
	if err != nil {
		return nil, err
	}
	if err := fill(c, 0, 2*n); err != nil {
		return nil, err
	}
	var setters []side.Fellow
	end := func() (err error) {
		for _, p := range setters {
			err = errors.Join(err, p.Close())
		}
		return errors.Join(err, c.Close())
	}
	for i := range a.Int(0) {
		p, err := side.StartPartner("cache setter", a.Pin, nil, c.dir, strconv.Itoa(1+i))
		if err != nil {
			return nil, errors.Join(err, end())
		}
		setters = append(setters, p)
	}
	var buf [16]byte
	rnd, dst := seed, make([]byte, 0, 2*cacheValue)
	return &side.Work{Each: func(ns []time.Duration) error {
		for i := range ns {
			key := cacheKey(&buf, rnd.below(n))
			begin := time.Now()
			if _, _, err := c.Get(key, dst); err != nil {
				return err
			}
			ns[i] = time.Since(begin)
		}
		return nil
	}, Close: end}, nil
}

// cacheSetter sets until its input ends. Arguments: DIR NUMBER.
func cacheSetter(p *side.Peer) error {
	c, err := joinOurs(p.List[0])
	if err != nil {
		return err
	}
	defer c.Close()
	over := make(chan struct{})
	p.Ready()
	go func() { p.Hear(); close(over) }()
	for k := p.Int(1) << 32; ; k += 100 {
		select {
		case <-over:
			return nil
		default:
		}
		if err := fill(c, k, 100); err != nil {
			return err
		}
	}
}

// newKeys sets keys that are all new; the cache is full from the start.
func newKeys(a side.Args) (c cacheSide, loop func(int) error, err error) {
	if c, err = openCache(a.List[0], a.Int(1)); err != nil {
		return nil, nil, err
	}
	at := a.Int(1) / 150
	return c, func(n int) error { at += n; return fill(c, at-n, n) }, fill(c, 0, at)
}

// cacheSet measures a set. Arguments: NAME LIMIT.
func cacheSet(a side.Args) (*side.Work, error) {
	c, loop, err := newKeys(a)
	if err != nil {
		return nil, err
	}
	return &side.Work{Run: side.Loop(loop), Close: c.Close}, nil
}

// cacheSetTimed times each set by itself, for percentiles. Arguments: NAME LIMIT.
func cacheSetTimed(a side.Args) (*side.Work, error) {
	c, loop, err := newKeys(a)
	if err != nil {
		return nil, err
	}
	return &side.Work{Once: func() ([]float64, error) {
		ns := make([]time.Duration, 20_000)
		for i := range ns {
			begin := time.Now()
			if err := loop(1); err != nil {
				return nil, err
			}
			ns[i] = time.Since(begin)
		}
		return side.Percentiles(ns, 0.5, 0.999), nil
	}, Close: c.Close}, nil
}

// cacheOverhead measures the bytes of the limit that are neither key nor value, for each entry. Its arguments are KEY VALUE
// LIMIT.
func cacheOverhead(a side.Args) (*side.Work, error) {
	size, limit := a.Int(0)+a.Int(1), a.Int(2)
	return &side.Work{Once: func() ([]float64, error) {
		c, err := newOurs(limit)
		if err != nil {
			return nil, err
		}
		value, key := make([]byte, a.Int(1)), make([]byte, max(a.Int(0), 8))
		for k := range 2 * limit / size {
			binary.LittleEndian.PutUint64(key, uint64(k)*0x9e37_79b9_7f4a_7c15)
			if err := c.Set(key[:a.Int(0)], value); err != nil {
				return nil, errors.Join(err, c.Close())
			}
		}
		entries, _, _, err := c.count()
		return []float64{float64(limit)/float64(entries) - float64(size)}, errors.Join(err, c.Close())
	}}, nil
}

// wastes are sizes of values that follow each other, of keys that are all new.
var wastes = []func(r *rand.Rand) int{
	func(*rand.Rand) int { return 200 },
	func(r *rand.Rand) int { return int(math.Exp(math.Log(150) + 1.2*r.NormFloat64())) },
	func(r *rand.Rand) int { return 900 + r.IntN(200) },
	func(r *rand.Rand) int { return 60 + r.IntN(40) },
	func(r *rand.Rand) int { return 3000 + r.IntN(2000) },
}

// cacheWaste measures which part of the log is no entry's record, in percent, after each of the wastes, and after as many
// bytes again of which half were set to keys that were there. The first answer is the most of the former. Its argument is
// LIMIT.
func cacheWaste(a side.Args) (*side.Work, error) {
	return &side.Work{Once: func() ([]float64, error) {
		c, err := newOurs(a.Int(0))
		if err != nil {
			return nil, err
		}
		r, k := rand.New(rand.NewPCG(1, 1)), 0
		var buf [16]byte
		value := make([]byte, 1<<16)
		answers := []float64{0}
		set := func(k, n int) {
			if err == nil {
				err = c.Set(cacheKey(&buf, k), value[:min(n, len(value))])
			}
		}
		look := func() {
			_, live, log, cerr := c.count()
			err = errors.Join(err, cerr)
			answers = append(answers, 100-100*float64(live)/float64(max(log, 1)))
		}
		for _, size := range wastes {
			for written := 0; written < a.Int(0)*5/4 && err == nil; k++ {
				n := size(r)
				set(k, n)
				written += n
			}
			look()
			answers[0] = max(answers[0], answers[len(answers)-1])
		}
		entries, _, _, cerr := c.count()
		err = errors.Join(err, cerr)
		z, base := rand.NewZipf(r, 1.01, 1, uint64(max(2*entries, 2))), k
		for written := 0; written < 3*a.Int(0) && err == nil; {
			n := 60 + r.IntN(1000)
			if r.IntN(2) == 0 {
				k++
				set(k, n)
			} else {
				set(max(base-int(z.Uint64()), 0), n)
			}
			written += n
		}
		look()
		return answers, errors.Join(err, c.Close())
	}}, nil
}

// cacheAttach measures how a session that is open already attaches a full cache, and gets an entry. Its argument is BYTES.
func cacheAttach(a side.Args) (*side.Work, error) {
	w, err := newWorld(nil)
	if err != nil {
		return nil, err
	}
	c, err := newOursIn(w, a.Int(0))
	if err != nil {
		return nil, errors.Join(err, w.end())
	}
	var buf [16]byte
	value := make([]byte, 3500)
	for k := range a.Int(0) / len(value) {
		if err := c.Set(cacheKey(&buf, k), value); err != nil {
			return nil, errors.Join(err, w.end())
		}
	}
	last := a.Int(0)/len(value) - 1
	s, err := w.join()
	return &side.Work{Each: func(ns []time.Duration) error {
		for i := range ns {
			begin := time.Now()
			c, err := openOurs(s, cache.MinLimit)
			if err != nil {
				return err
			}
			_, found, err := c.Get(cacheKey(&buf, last), value[:0])
			ns[i] = time.Since(begin)
			if err == nil && !found {
				err = errors.New("the key that was set last is missing")
			}
			if err = errors.Join(err, c.Cache.Close()); err != nil {
				return err
			}
		}
		return nil
	}, Close: func() error { return errors.Join(s.Close(), w.end()) }}, err
}
