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
