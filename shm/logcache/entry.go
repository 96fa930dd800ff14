package logcache

import (
	"context"
	"encoding/binary"
)

// Entry is all that the cache keeps of a key. Times are in the unit of Options.Now.
type Entry struct {
	Value   []byte
	Expires uint32       // the time from which it is gone; 0: never
	Fresh   uint32       // the time from which Get does not find it; Look does, and says that it is stale. 0: as Expires
	Idle    uint32       // each use makes it fresh for as long; what is not used so long is gone. 0: uses do not matter
	Absent  bool         // the key is known to have no value: Get does not find it, Look does
	Tags    [MaxTags]Tag // from the front; the first 0 ends them
}

// Stamp names one state of one entry: another Set of the key, and each move of the record, makes another one.
type Stamp struct {
	word slot
	life uint64
}

// Condition is what Put looks at under the lock before it stores anything. The zero Condition always holds.
type Condition struct {
	what  int
	stamp Stamp
	claim LoadClaim
}

const (
	always = iota
	ifAbsent
	ifPresent
	unchanged
	idle // unchanged, and by a lock that is free; loads do not mind
	during
)

// IfAbsent holds if Get would not find the key, and IfPresent if it would.
var (
	IfAbsent  = Condition{what: ifAbsent}
	IfPresent = Condition{what: ifPresent}
)

// If holds if the entry is as it was when Look returned the stamp.
func If(s Stamp) Condition { return Condition{what: unchanged, stamp: s} }

// During holds if the claim is this process's still, and no Set, Delete or Purge has touched the key since it was
// claimed. Either way the claim has ended, unless Put returns an error.
func During(l LoadClaim) Condition { return Condition{what: during, claim: l} }

// Put is Set with all that an Entry can say, if a condition holds. It reports whether it has.
func (c *Cache) Put(ctx context.Context, key []byte, e Entry, when Condition) (done bool, err error) {
	r := record{kind: kindValue, expires: e.Expires, key: key, value: e.Value}
	if e.Fresh != 0 || e.Tags[0] != 0 {
		r.extra = make([]byte, 0, 8*(MaxTags+1))
	}
	if e.Absent {
		r.flags, r.value = flagAbsent, nil
	}
	if e.Fresh != 0 {
		r.flags |= flagTimed
		r.extra = binary.NativeEndian.AppendUint64(r.extra, uint64(e.Fresh)|uint64(e.Idle)<<32)
	}
	for _, tag := range e.Tags {
		if tag == 0 {
			break
		}
		r.flags++
		r.extra = binary.NativeEndian.AppendUint64(r.extra, uint64(tag))
	}
	return c.set(ctx, &r, when)
}

// Look is Get that returns all of an entry, its value appended to dst, and finds stale and absent ones, too. Unless it
// is quiet, it counts as a use. The stamp is for If.
func (c *Cache) Look(key, dst []byte, quiet bool) (e Entry, s Stamp, found bool, err error) {
	q := query{kind: kindValue, all: new(all), quiet: quiet}
	return c.lookAll(&q, key, dst)
}

// Peek is Look that is quiet and copies no value; the Value that it returns is dst.
func (c *Cache) Peek(key, dst []byte) (e Entry, found bool, err error) {
	q := query{kind: kindValue, all: new(all), quiet: true, bare: true}
	e, _, found, err = c.lookAll(&q, key, dst)
	e.Value = dst
	return e, found, err
}

func (c *Cache) lookAll(q *query, key, dst []byte) (e Entry, s Stamp, found bool, err error) {
	e.Value = dst
	if c.view.Ended() {
		return e, s, false, c.closed()
	}
	h := hashOf(kindValue, key, c.seed)
	value, found, err := c.get(h, q, key, dst)
	if c.view.Ended() {
		return e, s, false, c.closed()
	}
	if !found || err != nil {
		return e, s, false, err
	}
	if q.used {
		c.refreshUsed(h, key)
	}
	e = q.all.said
	e.Value = value
	return e, q.all.stamp, true, nil
}

// Stale reports whether Get would not find the entry, at that time.
func (e *Entry) Stale(now uint32) bool {
	return e.Fresh != 0 && now >= e.Fresh || e.Expires != 0 && now >= e.Expires
}

// entryOf returns what a record says beside the value.
func (c *Cache) entryOf(r *record) Entry {
	e := Entry{Expires: r.expires, Absent: r.flags&flagAbsent != 0}
	extra := r.extra
	if r.flags&flagTimed != 0 {
		w := binary.NativeEndian.Uint64(extra)
		e.Fresh, e.Idle, extra = uint32(w), uint32(w>>32), extra[8:]
	}
	for i := range int(r.flags & flagTags) {
		e.Tags[i] = Tag(binary.NativeEndian.Uint64(extra[8*i:]))
	}
	return e
}

// matchesQuery reports whether a query wants a record that is the key's.
func (c *Cache) matchesQuery(q *query, r *record) bool {
	alive, fresh := c.valid(r)
	if fresh && r.flags&flagTimed != 0 && !q.quiet {
		w := binary.NativeEndian.Uint64(r.extra)
		until, each := uint32(w), uint32(w>>32)
		q.used = each != 0 && c.now != nil && until-c.now() < each-each/4
	}
	return fresh || alive && q.all != nil
}

// alive reports whether an entry may still be of use.
func (c *Cache) alive(r *record) bool {
	alive, _ := c.valid(r)
	return alive
}

// valid reports whether an entry may still be of use, and whether Get finds it.
func (c *Cache) valid(r *record) (alive, fresh bool) {
	if c.expired(r.expires) {
		return false, false
	}
	if r.flags == 0 {
		return true, true
	}
	extra := r.extra
	fresh = r.flags&flagAbsent == 0
	if r.flags&flagTimed != 0 {
		w := binary.NativeEndian.Uint64(extra)
		if c.expired(uint32(w)) {
			if fresh = false; w>>32 != 0 {
				return false, false
			}
		}
		extra = extra[8:]
	}
	for i := range int(r.flags & flagTags) {
		if !c.current(Tag(binary.NativeEndian.Uint64(extra[8*i:]))) {
			return false, false
		}
	}
	return true, fresh
}

// holdsLocked reports whether a condition holds. It runs under the shard's lock.
func (t *turn) holdsLocked(when Condition, p spot, r *record, there bool) bool {
	fresh := false
	if there {
		_, fresh = t.c.valid(r)
	}
	switch when.what {
	case ifAbsent:
		return !fresh
	case ifPresent:
		return fresh
	case unchanged, idle:
		return there && p.word() == when.stamp.word && t.c.lives[p.word().extent()-1].Load() == when.stamp.life
	case during:
		return t.mayStoreLocked(when.claim)
	}
	return true
}

// refreshUsed makes an entry that has been used fresh again, if no one has the lock. Its value is appended once more.
func (c *Cache) refreshUsed(h hash, key []byte) {
	q := query{kind: kindValue, all: new(all), quiet: true}
	value, found, err := c.get(h, &q, key, nil)
	if !found || err != nil || q.all.said.Idle == 0 || c.now == nil {
		return
	}
	e := q.all.said
	e.Value = value
	e.Fresh = c.now() + e.Idle
	if e.Expires != 0 {
		e.Fresh = min(e.Fresh, e.Expires)
	}
	_, _ = c.Put(context.Background(), key, e, Condition{what: idle, stamp: q.all.stamp}) // the next use tries again
}
