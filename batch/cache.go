package batch

import (
	"sync"
	"sync/atomic"
)

// A cache holds answers to reads, as of the last commit. The worker writes it; any goroutine reads it.
type cache[Group, Key comparable, Res any] struct {
	most int // answers; 0: the cache is not in use
	hits atomic.Uint64

	mu      sync.RWMutex
	answers map[Key]map[Group]Res
	n       int
}

func (c *cache[Group, Key, Res]) get(group Group, key Key) (res Res, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	res, ok = c.answers[key][group]
	return res, ok
}

// putLocked keeps an answer, under mu. Where there is no room, some other key's answers make it.
func (c *cache[Group, Key, Res]) putLocked(group Group, key Key, res Res) {
	if c.answers == nil {
		c.answers = map[Key]map[Group]Res{}
	}
	if c.answers[key] == nil {
		c.answers[key] = map[Group]Res{}
	}
	if _, ok := c.answers[key][group]; !ok {
		c.n++
	}
	c.answers[key][group] = res
	for other := range c.answers {
		if c.n <= c.most {
			break
		}
		if other != key {
			c.dropLocked(other)
		}
	}
}

// dropLocked drops all answers of a key, under mu.
func (c *cache[Group, Key, Res]) dropLocked(key Key) {
	c.n -= len(c.answers[key])
	delete(c.answers, key)
}

// lookup returns the answer to a read, if it is in memory.
func (ps *plans[Cmd, Res, Group, Key]) lookup(cmd Cmd) (res Res, ok bool) {
	if ps.cache.most == 0 {
		return res, false
	}
	t, read, err := ps.askRules(&call[Cmd, Res]{cmd: cmd})
	if err != nil || !read || !t.keyed {
		return res, false
	}
	if res, ok = ps.cache.get(t.group, t.key); ok {
		ps.cache.hits.Add(1)
	}
	return res, ok
}

func (ps *plans[Cmd, Res, Group, Key]) hits() uint64 { return ps.cache.hits.Load() }

// committed follows entries that have been committed, in their order, or, if that is not known, that may have been. It
// returns an error if Rules.Written has panicked.
func (ps *plans[Cmd, Res, Group, Key]) committed(p *plan[Cmd, Res], lo, hi int, known bool) error {
	if ps.cache.most > 0 {
		ps.follow(p, lo, hi, known)
	}
	if ps.rules.Written == nil {
		return nil
	}
	return ps.tell(p, lo, hi)
}

// tell calls Rules.Written. The cache has followed by then.
func (ps *plans[Cmd, Res, Group, Key]) tell(p *plan[Cmd, Res], lo, hi int) (err error) {
	defer func() {
		clear(ps.wrote)
		if v := recover(); v != nil {
			err = panicked("Rules.Written", v)
		}
	}()
	ps.wrote = ps.wrote[:0]
	for x := lo; x < hi; x++ {
		e := &p.entries[x]
		if e.read || e.err != nil || e.first.interact != nil {
			continue
		}
		for c := e.first; c != nil; c = c.next {
			ps.wrote = append(ps.wrote, c.cmd)
		}
	}
	if len(ps.wrote) > 0 {
		ps.rules.Written(ps.wrote)
	}
	return nil
}

// follow lets the answers in memory follow entries, in their order: a read's answer is kept, and a write drops those
// of its key. What has no key may have written anything. If it is not known what was committed, all answers that may
// have changed are dropped.
func (ps *plans[Cmd, Res, Group, Key]) follow(p *plan[Cmd, Res], lo, hi int, known bool) {
	ps.cache.mu.Lock()
	defer ps.cache.mu.Unlock()
	for x := lo; x < hi; x++ {
		e, t := &p.entries[x], ps.tags[x]
		switch {
		case e.read && !(t.keyed && known):
		case e.read && e.err == nil:
			ps.cache.putLocked(t.group, t.key, p.res[x])
		case !t.keyed:
			clear(ps.cache.answers)
			ps.cache.n = 0
		case !e.read:
			ps.cache.dropLocked(t.key)
		}
	}
}
