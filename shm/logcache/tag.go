package logcache

import (
	"github.com/godsm/godsm/internal/sys/fault"
)

// Tag is a name under which entries can be deleted together, as TagOf has seen it: its place in a table of versions,
// and the version.
type Tag uint64

// MaxTags is how many tags an entry can have.
const MaxTags = 4

const kindTag = 77 // of no record: it makes hashes of tags differ from those of keys

// TagOf returns a tag as it is now: an entry that bears it is gone as soon as DeleteTag is called for the name. Take it
// before the value is read from where it comes from; then no DeleteTag in between is missed. Two names may share a
// place: then a DeleteTag of either deletes the entries of both.
func (c *Cache) TagOf(name []byte) (t Tag, err error) {
	if c.view.Ended() {
		return 0, c.closed()
	}
	err = fault.Contain(func() error {
		at := c.tagPlace(name)
		t = Tag(uint64(at)<<32 | c.tags[at].Load()&(1<<32-1))
		return nil
	})
	return t, c.orClosed(err)
}

// DeleteTag deletes all entries that bear the tag, by one store: it waits for no lock.
func (c *Cache) DeleteTag(name []byte) error {
	if c.view.Ended() {
		return c.closed()
	}
	return c.orClosed(fault.Contain(func() error {
		c.tags[c.tagPlace(name)].Add(1)
		return nil
	}))
}

// tagPlace returns the number of a tag's counter, which other tags may share. It is never 0.
func (c *Cache) tagPlace(name []byte) int {
	return 1 + int(uint64(hashOf(kindTag, name, c.seed))>>8%uint64(len(c.tags)-1))
}

func (c *Cache) current(t Tag) bool {
	at := uint64(t) >> 32
	return at < uint64(len(c.tags)) && uint32(c.tags[at].Load()) == uint32(t)
}
