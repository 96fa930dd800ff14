package logcache

import (
	"context"
	"fmt"
	"structs"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/shmsync"
)

// A load is one process's right to fill in a key's value, while all others wait for it. Its row is in the shard of the
// key, in a set of eight that follows from the hash. Rows are changed under the shard's lock; those who wait look at
// word without it.
//
//	bits 0-42 of word   the session that loads
//	bits 43-44          free, loading, failed
//	bit 45              stale: a Set, Delete or Purge has touched the key since, so the value is not stored
//	bits 46-63          sequence, one more each time that the row is claimed
//
// A row whose session has died is claimed by the next who wants the key. A load that finds its set full goes on
// without a row: others do not wait for it, and what it has loaded is stored only if nothing in the shard has changed
// since it began.
type loadRow struct {
	_    structs.HostLayout
	word atomic.Uint64
	news shmsync.Cond  // word has changed
	size atomic.Uint32 // of text; the kind of failure in bits 24-31
	text [112]byte     // why it failed
}

const (
	loadStateShift = 43
	loadStateMask  = 3 << loadStateShift
	loadStale      = 1 << 45
	loadSeqShift   = 46
	loadPeerMask   = 1<<loadStateShift - 1

	loading = 1 << loadStateShift
	failed  = 2 << loadStateShift

	loadRowSize = 128
	loadSet     = 8 // rows: their hashes are in one line
)

// LoadClaim is a load that the caller has claimed, or the one that a caller waits for.
type LoadClaim struct {
	h       hash
	row     int // of all shards; -1: none
	word    uint64
	changes uint64 // of the shard, if there is no row
}

// Failure is how a load has ended that stored no value.
type Failure uint8

const (
	Failed   Failure = 1 + iota // the text says why
	Panicked                    // the same
	Missing                     // there is no value for the key
	TooLarge                    // there is one, and it cannot be stored: each has to load it
)

// loadsOf returns the hashes and rows of a hash's set.
func (c *Cache) loadsOf(h hash) (first int, hashes []atomic.Uint64) {
	sets := c.nloads / loadSet
	first = h.shard(c.nshards)*c.nloads + int(h.forPolicy()%uint64(sets))*loadSet
	return first, c.loadKeys[first : first+loadSet : first+loadSet]
}

// loadKey returns the hash by which a load is known in its set, never 0.
func (h hash) loadKey() uint64 { return uint64(h) | 1<<63 }

// Claim begins a load of a key: mine says that the caller is the one to load. Otherwise the claim is another's, to be
// waited for by Await. Over claims the load even if the session that has it is alive.
func (c *Cache) Claim(ctx context.Context, key []byte, over bool) (l LoadClaim, mine bool, err error) {
	if c.view.Ended() {
		return l, false, c.closed()
	}
	defer fault.Return(&err, fault.Catch())
	h := hashOf(kindValue, key, c.seed)
	if l, is := c.findLoad(h); is && !over {
		return l, false, c.orClosed(nil)
	}
	t, err := c.lock(ctx, h.shard(c.nshards))
	if err != nil {
		return l, false, err
	}
	defer t.unlock()
	l, mine = t.claimLoadLocked(h, over)
	t.done = true
	return l, mine, nil
}

// findLoad finds the load of a key that another session, or this one, has under way. It takes no lock: hundreds may want the
// key at once, and the one that loads it needs the lock to store.
//
// A row is given to another key by a store of that key's hash, while the word is that of no load or of a dead session's,
// and then one of the word. So a word that is that of a living session's load before the hash is read, and after, is of
// the key with that hash.
func (c *Cache) findLoad(h hash) (l LoadClaim, is bool) {
	first, hashes := c.loadsOf(h)
	for i := range hashes {
		word := &c.loads[first+i].word
		w := word.Load()
		if w&loadStateMask == loading && hashes[i].Load() == h.loadKey() && c.loaderLives(w) && (word.Load()^w)&^loadStale == 0 {
			return LoadClaim{h: h, row: first + i, word: w &^ loadStale}, true
		}
	}
	return l, false
}

// claimLoadLocked runs under the shard's lock.
func (t *turn) claimLoadLocked(h hash, over bool) (l LoadClaim, mine bool) {
	c := t.c
	first, hashes := c.loadsOf(h)
	free := -1
	for i := range hashes {
		w := c.loads[first+i].word.Load()
		busy := w&loadStateMask == loading && c.loaderLives(w)
		switch {
		case hashes[i].Load() == h.loadKey() && busy && !over:
			return LoadClaim{h: h, row: first + i, word: w &^ loadStale}, false
		case hashes[i].Load() == h.loadKey() && w&loadStateMask == loading:
			return t.takeLoadLocked(h, first+i, w), true
		case !busy && free < 0:
			free = first + i
		}
	}
	if free >= 0 {
		return t.takeLoadLocked(h, free, c.loads[free].word.Load()), true
	}
	t.s.loads.Store(t.s.loads.Load() + 1)
	return LoadClaim{h: h, row: -1, changes: t.s.changes.Load()}, true
}

// loaderLives reports whether the session of a row's word may be alive.
func (c *Cache) loaderLives(w uint64) bool {
	p := shmsync.PeerOf(w & loadPeerMask)
	return p == c.self.Peer || p.Row >= 0 && p.Row < shmsync.MaxRows && c.self.Alive(p)
}

// takeLoadLocked makes a row this session's. It runs under the shard's lock.
func (t *turn) takeLoadLocked(h hash, i int, was uint64) LoadClaim {
	r := &t.c.loads[i]
	if was&loadStateMask != loading {
		t.s.loads.Store(t.s.loads.Load() + 1)
	}
	failpoint.Hit("logcache/load/counted")
	t.c.loadKeys[i].Store(h.loadKey())
	failpoint.Hit("logcache/load/named")
	w := t.c.self.Peer.Word()&loadPeerMask | loading | (was>>loadSeqShift+1)<<loadSeqShift
	r.word.Store(w)
	failpoint.Hit("logcache/load/claimed")
	r.news.Broadcast()
	return LoadClaim{h: h, row: i, word: w}
}

// overtakeLocked notes that a key is being changed by another than the one that loads it. It runs under the shard's
// lock.
func (t *turn) overtakeLocked(h hash, when Condition) {
	t.s.changes.Store(t.s.changes.Load() + 1)
	first, hashes := t.c.loadsOf(h)
	for i := range hashes {
		if hashes[i].Load() == h.loadKey() && !(when.what == during && when.claim.row == first+i) {
			t.c.loads[first+i].word.Or(loadStale)
		}
	}
}

// mayStoreLocked reports whether the claim may still store a value; if not, it ends. It runs under the shard's lock.
func (t *turn) mayStoreLocked(l LoadClaim) bool {
	ok := false
	switch {
	case l.row < 0:
		ok = t.s.changes.Load() == l.changes
	case l.row < len(t.c.loads):
		ok = t.c.loads[l.row].word.Load() == l.word
	}
	if !ok {
		t.s.refused.Add(1)
		t.endLoadLocked(l)
	}
	return ok
}

// endLoadLocked frees the row of a claim, if it is its own still. It runs under the shard's lock.
func (t *turn) endLoadLocked(l LoadClaim) {
	if l.row < 0 {
		t.s.loads.Store(max(t.s.loads.Load(), 1) - 1)
		return
	}
	t.endLoadRowLocked(l, l.word>>loadSeqShift<<loadSeqShift)
}

// endLoadRowLocked runs under the shard's lock.
func (t *turn) endLoadRowLocked(l LoadClaim, word uint64) {
	r := &t.c.loads[l.row]
	if r.word.Load()&^loadStale != l.word {
		return
	}
	r.word.Store(word)
	failpoint.Hit("logcache/load/ended")
	t.s.loads.Store(max(t.s.loads.Load(), 1) - 1)
	r.news.Broadcast()
}

// Abandon ends a claim without an outcome: the next of those who wait claims the load.
func (c *Cache) Abandon(ctx context.Context, l LoadClaim) error { return c.end(ctx, l, 0, "") }

// Fail ends a claim, and tells those who wait why there is no value.
func (c *Cache) Fail(ctx context.Context, l LoadClaim, f Failure, text string) error {
	return c.end(ctx, l, f, text)
}

func (c *Cache) end(ctx context.Context, l LoadClaim, f Failure, text string) (err error) {
	if c.view.Ended() {
		return c.closed()
	}
	if l == (LoadClaim{}) {
		return nil
	}
	defer fault.Return(&err, fault.Catch())
	t, err := c.lock(ctx, l.h.shard(c.nshards))
	if err != nil {
		return err
	}
	defer t.unlock()
	if t.done = true; f == 0 || l.row < 0 {
		t.endLoadLocked(l)
		return nil
	}
	r := &c.loads[l.row]
	if r.word.Load()&^loadStale == l.word {
		n := copy(r.text[:], excerpt.Of(text, len(r.text)))
		r.size.Store(uint32(n) | uint32(f)<<24)
		failpoint.Hit("logcache/load/failed")
		t.endLoadRowLocked(l, l.word&^loadStateMask|failed)
	}
	return nil
}

// Those who wait for a load look again when there is news, and from time to time without: the session that loads may
// have died.
const (
	leastPatience = time.Millisecond
	mostPatience  = 6 * time.Millisecond
)

// Await waits until a load is over, in whatever way: it is time to look for the key again. If the load has failed, the
// error is a *LoadError. It waits until ctx is over, or until patience has passed, if that is not 0, and then reports
// that it has.
func (c *Cache) Await(ctx context.Context, l LoadClaim, patience time.Duration) (tired bool, err error) {
	if l == (LoadClaim{}) || l.row < 0 || l.row >= len(c.loads) {
		return false, nil
	}
	begin := time.Now()
	for each := leastPatience; ; each = min(2*each, mostPatience) {
		if c.view.Ended() {
			return false, c.closed()
		}
		over, err := c.await(ctx, l, each)
		switch {
		case err != nil || over:
			return false, c.orClosed(err)
		case ctx.Err() != nil:
			return false, fmt.Errorf("logcache: a load by %s: %w", c.self.Name(shmsync.PeerOf(l.word&loadPeerMask)), context.Cause(ctx))
		case patience > 0 && time.Since(begin) >= patience:
			return true, nil
		}
	}
}

// await waits once.
func (c *Cache) await(ctx context.Context, l LoadClaim, each time.Duration) (over bool, err error) {
	defer fault.Return(&err, fault.Catch())
	lease, err := c.bytes.Enter()
	if err != nil {
		return false, c.closed()
	}
	defer lease.Leave()
	short, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	r := &c.loads[l.row]
	ticket := r.news.Prepare()
	defer ticket.Cancel()
	if w := r.word.Load() &^ loadStale; w == l.word {
		_ = ticket.Sleep(short)
	}
	w := r.word.Load() &^ loadStale
	switch {
	case w == l.word:
		return !c.loaderLives(w), nil
	case w == l.word&^loadStateMask|failed:
		return true, c.failure(ctx, l)
	}
	return true, nil
}

// failure reads why a load has failed. If the row is another's by now it is nil: the caller looks again.
func (c *Cache) failure(ctx context.Context, l LoadClaim) error {
	t, err := c.lock(ctx, l.h.shard(c.nshards))
	if err != nil {
		return err
	}
	defer t.unlock()
	t.done = true
	r := &c.loads[l.row]
	if r.word.Load()&^loadStale != l.word&^loadStateMask|failed {
		return nil
	}
	x := r.size.Load()
	f := Failure(x >> 24)
	if f < Failed || f > TooLarge {
		return nil
	}
	return &LoadError{f, string(r.text[:min(int(x&0xffffff), len(r.text))])}
}

// recountLoadsLocked counts the loads of the shard anew. Those without a row are not known: what they load is not
// stored. It runs under the shard's lock.
func (t *turn) recountLoadsLocked() {
	n := uint64(0)
	for i := t.i * t.c.nloads; i < (t.i+1)*t.c.nloads; i++ {
		if t.c.loads[i].word.Load()&loadStateMask == loading {
			n++
		}
	}
	t.s.loads.Store(n)
	t.s.changes.Store(t.s.changes.Load() + 1)
}

// overtakeAllLocked keeps what is being loaded in this shard out. It runs under the shard's lock.
func (t *turn) overtakeAllLocked() {
	t.s.changes.Store(t.s.changes.Load() + 1)
	for i := t.i * t.c.nloads; i < (t.i+1)*t.c.nloads; i++ {
		if r := &t.c.loads[i]; r.word.Load()&loadStateMask == loading {
			r.word.Or(loadStale)
		}
	}
}
