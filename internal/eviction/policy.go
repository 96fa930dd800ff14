package eviction

// Log is one of the two logs.
type Log uint8

const (
	Window Log = iota
	Main
)

// MaxHits is the highest count of hits that an entry has.
const MaxHits = 3

// Entry is what a policy may know of an entry.
type Entry struct {
	Hash uint64
	Size int // in the unit of Store.Bytes
	Hits int // since it entered its log or was last passed, at most MaxHits
}

// Store is the cache that a policy decides for.
type Store interface {
	// Bytes returns how much is in a log.
	Bytes(Log) int64
	// Limit returns how much may be in both.
	Limit() int64
	// Oldest returns the oldest entry of a log that is still wanted; false if the log has none.
	Oldest(Log) (Entry, bool)
	// Move makes the oldest entry of one log, which Oldest has returned, the newest of another with that many hits.
	Move(from, to Log, hits int)
	// Mean returns the mean of the sizes of the entries.
	Mean() int
	// Drop takes the oldest entry of a log out of the cache, which Oldest has returned.
	Drop(Log)
}

// Setting is a share of the window and a rule.
type Setting struct {
	Percent   int  // the window's part of the limit
	Frequency bool // the rule is by frequency, else by hits
}

// Settings are those that a Tuner chooses from.
var Settings = [...]Setting{
	{1, true}, {6, true}, {20, true}, {50, true}, {90, true},
	{10, false}, {40, false}, {80, false},
}

// Untuned is the index in Settings of the one that a cache begins with, and keeps if it is too small for a Tuner.
const Untuned = 5

// Policy is the state of one cache, or of one shard of it. It is used by one goroutine at a time.
type Policy struct {
	Setting
	Ghost  Ghost
	Sketch Sketch
	// Objects says that as many entries as possible are to be hit, whatever their size; else as many bytes. It is for
	// the rule by hits: small entries stay without a hit, and large ones need two.
	Objects bool
	luck    uint64
}

// Enter returns the log for an entry that is new to the cache. Each miss that is followed by a Set calls it once.
func (p *Policy) Enter(s Store, e Entry) Log {
	p.Sketch.Add(e.Hash)
	window, limit := s.Bytes(Window), s.Limit()
	switch {
	case p.Ghost.Take(e.Hash):
		if !p.Frequency {
			return Main
		}
	case window >= p.windowBytes(limit) && window+s.Bytes(Main) < limit-limit/32:
		return Main // nothing was dropped yet: the main log is not full
	}
	return Window
}

func (p *Policy) windowBytes(limit int64) int64 { return limit * int64(p.Percent) / 100 }

// Step decides on one entry, so that, after some steps, there is less in the cache. It reports whether there was one.
func (p *Policy) Step(s Store) bool {
	if s.Bytes(Window) > p.windowBytes(s.Limit()) {
		if e, some := s.Oldest(Window); some {
			p.leaveWindow(s, e)
			return true
		}
	}
	if v, some := s.Oldest(Main); some {
		if !p.moveIfHit(s, v) {
			s.Drop(Main)
		}
		return true
	}
	e, some := s.Oldest(Window)
	if some {
		p.leaveWindow(s, e)
	}
	return some
}

// leaveWindow decides on the oldest entry of the window.
func (p *Policy) leaveWindow(s Store, e Entry) {
	switch {
	case !p.Frequency && (e.Hits > 0 && !p.stepLarge(s, e) || p.stepSmall(s, e)):
		s.Move(Window, Main, 0)
	case !p.Frequency:
		p.Ghost.Add(e.Hash)
		s.Drop(Window)
	case e.Hits > 0:
		for range e.Hits {
			p.Sketch.Add(e.Hash)
		}
		s.Move(Window, Window, 0)
	default:
		v, some := s.Oldest(Main)
		switch {
		case some && p.moveIfHit(s, v):
		case !some:
			p.Ghost.Add(e.Hash)
			s.Drop(Window)
		case p.winsOver(e, v):
			// A window that is far above its share is one whose share has been lowered: the main log grows then.
			if l := s.Limit(); s.Bytes(Window) <= p.windowBytes(l)+l/64+int64(e.Size) {
				s.Drop(Main)
			}
			s.Move(Window, Main, 0)
		default:
			p.Ghost.Add(e.Hash)
			s.Drop(Window)
		}
	}
}

// moveIfHit lets the oldest entry of the main log go round once more, if it was hit, and reports whether it did.
func (p *Policy) moveIfHit(s Store, v Entry) bool {
	if v.Hits == 0 || p.stepLarge(s, v) {
		return false
	}
	if p.Frequency {
		p.Sketch.Add(v.Hash)
	}
	s.Move(Main, Main, v.Hits-1)
	return true
}

// winsOver reports whether an entry that leaves the window displaces one of the main log. A tie is lost, but for one time in
// 128 if the entry is warm, so that no pattern of accesses keeps entries out for ever.
func (p *Policy) winsOver(e, v Entry) bool {
	mine, theirs := p.Sketch.Count(e.Hash), p.Sketch.Count(v.Hash)
	if mine > theirs {
		return true
	}
	p.luck = p.luck*6364136223846793005 + 1442695040888963407
	return mine >= 6 && p.luck>>57 == 0
}

// stepSmall reports whether an entry is kept for its size alone.
func (p *Policy) stepSmall(s Store, e Entry) bool { return p.Objects && e.Size*2 < s.Mean() }

// stepLarge reports whether an entry is so large that one hit does not keep it.
func (p *Policy) stepLarge(s Store, e Entry) bool {
	return p.Objects && e.Size > s.Mean()*2 && e.Hits < 2
}
