package locktable

import (
	"iter"
	"slices"
	"time"

	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/waitqueue"
)

// Looker looks at a table without joining it or taking any of its locks, and works while all who use it are stopped.
type Looker struct {
	bytes  roster.Bytes
	over   func() error // the end of the bytes
	root   *root
	seed   uint64
	roster *roster.Roster[seat, waitqueue.Record]
	only   bool // reads, and does not even note when it has seen a hold
}

// Look finds the table that Create has made, to look at it. Bytes returns the objects of its area: roster.In, or Peek
// of a dsa.Sight.
func Look(bytes roster.Bytes, handle dsa.Pointer) (*Looker, error) {
	h, err := rootIn(bytes, handle)
	if err != nil {
		return nil, err
	}
	var list *roster.Roster[seat, waitqueue.Record]
	err = fault.Contain(func() (err error) {
		list, err = roster.Look[seat, waitqueue.Record](bytes, dsa.Pointer(h.roster.Load()))
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Looker{bytes: bytes, over: func() error { return nil }, root: h, seed: h.seed.Load(), roster: list, only: true}, nil
}

// Info is a lock that is held, or waited for, or whose last holder died.
type Info struct {
	Holders []Party
	Waiters []Party // in the order of the queue
	Died    int     // holders that may have been writing, since the last Repaired
	Below   bool    // all of those that died had the lock in an intent mode: what they wrote lies below the name
	Kept    int     // how many sessions keep the name: see Table.Name
	name    []byte
}

// Path returns the lock's.
func (i Info) Path() []string { p, _ := decode(i.name); return p }

// Name returns the path with slashes.
func (i Info) Name() string { return key{b: i.name}.String() }

// List lists the locks that are held, waited for, or not repaired after a death. It takes no lock. A lock that is held
// all the time is listed once; each line was true at some moment of the call, and the lines together are of no one
// moment.
func (l *Looker) List() iter.Seq[Info] {
	return func(yield func(Info) bool) {
		var s *sight
		if l.contained(func(x *sight) { s = x }) != nil {
			return
		}
		for i := range partitions {
			var list []Info // so that the loop's body does not run where faults are caught
			if fault.Contain(func() error { list = s.infos(i); return l.over() }) != nil {
				return
			}
			for _, x := range list {
				if !yield(x) {
					return
				}
			}
		}
	}
}

// Holders lists who holds a lock. It takes no lock.
func (l *Looker) Holders(path ...string) iter.Seq[Party] {
	return l.of(path, func(i Info) []Party { return i.Holders })
}

// Waiters lists who waits for a lock, the first in the queue first. It takes no lock.
func (l *Looker) Waiters(path ...string) iter.Seq[Party] {
	return l.of(path, func(i Info) []Party { return i.Waiters })
}

func (l *Looker) of(path []string, part func(Info) []Party) iter.Seq[Party] {
	return func(yield func(Party) bool) {
		var list []Party
		if k, err := encode(nil, path); err == nil {
			if l.contained(func(s *sight) { list = part(s.infoOf(k)) }) != nil {
				return
			}
		}
		for _, p := range list {
			if !yield(p) {
				return
			}
		}
	}
}

// explainWait adds to the error of a wait who holds a lock, with the names of the sessions: that a holder is stopped is
// what a person wants to know first. To find that out costs some system calls, which TryLock does without.
func (t *Table) explainWait(e *WaitError, k key) *WaitError {
	t.explain(e, k)
	if t.self.Who == nil {
		return e
	}
	for i := range e.Holders[:min(len(e.Holders), mostNamed)] {
		e.Holders[i].Session = t.self.Name(e.Holders[i].peer)
	}
	return e
}

// explain adds to an error who holds a lock.
func (t *Table) explain(e *WaitError, k key) *WaitError {
	_ = t.contained(func(s *sight) {
		i := s.infoOf(k)
		for _, h := range i.Holders {
			if h.Mode.Conflicts(e.Mode) {
				e.Holders = append(e.Holders, h)
			}
		}
	})
	return e
}

// sight is one look at a table: the records, by the heads that they belong to, and who has them.
type sight struct {
	*Looker
	now     time.Time
	records map[uint64][]seen
	parties map[int]Party // by row: pid and application
	names   []byte        // room for names, and
	lone    []Party       // for holders, of which most locks have one
}

// slab is for how many locks there is room at a time.
const slab = 256

// seen is a record as it was.
type seen struct {
	ref    roster.Ref
	state  waitqueue.State
	ticket uint64
	since  uint64
	called bool
	passed bool
	own    waitqueue.Ref // of one that upgrades
}

// contained runs f, and makes an error of a fault in bytes that are gone. After the end of the bytes what f has found
// means nothing, and the error says so.
func (l *Looker) contained(f func(*sight)) error {
	if l == nil || l.over == nil {
		return ErrClosed
	}
	return fault.Contain(func() error {
		if err := l.over(); err != nil {
			return err
		}
		s := &sight{Looker: l, now: time.Now(), records: map[uint64][]seen{}, parties: map[int]Party{}}
		for row := range l.roster.Rows() {
			for ref, r := range l.roster.Each(row) {
				s.add(ref, r)
			}
		}
		for _, list := range s.records {
			slices.SortFunc(list, func(a, b seen) int {
				if a.ticket != b.ticket {
					if a.ticket < b.ticket {
						return -1
					}
					return 1
				}
				return int(a.ref) - int(b.ref)
			})
		}
		f(s)
		return l.over()
	})
}

// Waits lists which waiter waits for whom: for a holder, or for one that waits before it. It takes no lock.
func (l *Looker) Waits() iter.Seq[Edge] {
	return func(yield func(Edge) bool) {
		var list []wait
		if l.contained(func(s *sight) { list = s.waits() }) != nil {
			return
		}
		for _, w := range list {
			if !yield(w.edge) {
				return
			}
		}
	}
}

// add notes a record, if it is one that counts and does not change during the look.
func (s *sight) add(ref roster.Ref, r *waitqueue.Record) {
	for range 3 {
		w := r.State()
		switch w.Kind() {
		case waitqueue.Pinned, waitqueue.Waiting, waitqueue.Held, waitqueue.Idle:
		default:
			return
		}
		x := seen{ref, w, r.Ticket.Load(), r.Since.Load(), r.Called() != 0, r.Passed(), waitqueue.Ref(r.Extra.Load())}
		key := r.Head.Load()
		if r.State() == w {
			s.records[key] = append(s.records[key], x)
			return
		}
	}
}

// infos returns what there is of the locks of a partition.
func (s *sight) infos(i int) (list []Info) {
	list = make([]Info, 0, min(s.root.parts[i].heads.Load(), slab))
	s.eachHead(i, func(n uint32, h *head) bool {
		if x, ok := s.info(i, n, h); ok && len(x.Holders)+len(x.Waiters)+x.Died > 0 {
			list = append(list, x)
		}
		return true
	})
	return list
}

// eachHead calls f for each head of a partition, until it returns false, and reports whether it went through all.
func (s *sight) eachHead(i int, f func(n uint32, h *head) bool) bool {
	p := &s.root.parts[i]
	for k := range p.dirs {
		if p.dirs[k].Load() == 0 {
			continue
		}
		for j := range firstDir << k {
			page := firstDir*(1<<k-1) + j
			at, err := s.pageWord(p, page)
			if err != nil || at == 0 {
				continue
			}
			heads, err := s.heads(at)
			if err != nil || heads == nil {
				continue
			}
			for slot := 1; slot < perPage; slot++ {
				if heads[slot].kind.Load() != 0 && !f(uint32(page*perPage+slot), &heads[slot]) {
					return false
				}
			}
		}
	}
	return true
}

// infoOf returns what there is of a name.
func (s *sight) infoOf(k key) (found Info) {
	ident := hash(k.b, s.seed)
	s.eachHead(partOf(ident), func(n uint32, h *head) bool {
		if h.ident.Load() != ident {
			return true
		}
		x, ok := s.info(partOf(ident), n, h)
		if ok && string(x.name) == string(k.b) {
			found = x
			return false
		}
		return true
	})
	return found
}

// info returns what there is of a head, if it is one name's while it is read.
func (s *sight) info(part int, n uint32, h *head) (x Info, ok bool) {
	w := waitqueue.Hold(h.lock.Word.Load())
	records := s.records[keyOf(part, n)]
	died := int(h.died.Load() >> 48)
	if w.Mode() == 0 && len(records) == 0 && died == 0 {
		return x, false
	}
	if cap(s.names)-len(s.names) < inline {
		s.names = make([]byte, 0, slab*inline)
	}
	at := len(s.names)
	if x.name, ok = s.nameOf(s.names[at:at:at+inline], h); !ok {
		return x, false
	}
	if len(x.name) <= inline {
		s.names = s.names[:at+len(x.name)]
	}
	x.Died, x.Below = died, h.died.Load()&below != 0
	if w.Mode() != 0 {
		p := s.party(w.Row(), w.Owner())
		p.Mode, p.For = w.Mode(), s.age(h, w)
		if len(s.lone) == 0 {
			s.lone = make([]Party, slab)
		}
		s.lone[0] = p
		x.Holders, s.lone = s.lone[:1:1], s.lone[1:]
	}
	for _, r := range records {
		switch r.state.Kind() {
		case waitqueue.Pinned:
			x.Kept++
		case waitqueue.Held:
			x.Holders = append(x.Holders, s.recorded(r))
		case waitqueue.Waiting:
			x.Waiters = append(x.Waiters, s.recorded(r))
		}
	}
	return x, true
}

func (s *sight) recorded(r seen) Party {
	p := s.party(r.ref.Row(), r.state.Owner())
	p.Mode, p.For = r.state.Mode(), max(s.now.Sub(time.Unix(0, int64(r.since))), 0)
	p.Waits, p.Called, p.Passed = r.state.Kind() == waitqueue.Waiting, r.called, r.passed
	return p
}

// party returns who a row is, and what one of its owners does.
func (s *sight) party(row int, owner uint32) Party {
	p, ok := s.parties[row]
	if !ok {
		if who, own, ok := s.roster.Seat(row); ok {
			p = Party{Pid: int(own.pid.Load()), Application: loadText(own.app[:]), peer: who}
		}
		s.parties[row] = p
	}
	if owner != 0 {
		p.Owner, p.Note = owner, s.noteOf(row, owner)
	}
	return p
}

// age returns for how long a hold in place has been seen: the first process that looks notes when that was.
func (s *sight) age(h *head, w waitqueue.Hold) time.Duration {
	const bits = 40
	mark, now := uint64(w>>36)<<bits, uint64(s.now.UnixMilli())&(1<<bits-1)
	was := h.seen.Load()
	if was>>bits != mark>>bits || was == 0 {
		if !s.only && s.over() == nil {
			h.seen.Store(mark | now)
		}
		return 0
	}
	return time.Duration((now-was)&(1<<bits-1)) * time.Millisecond
}

// waits returns who waits for whom.
func (s *sight) waits() (list []wait) {
	for key, records := range s.records {
		waiting := false
		for _, r := range records {
			waiting = waiting || r.state.Kind() == waitqueue.Waiting
		}
		if !waiting {
			continue
		}
		h := s.headOf(key)
		if h == nil {
			continue
		}
		name, ok := s.nameOf(nil, h)
		if !ok {
			continue
		}
		place := waitqueue.Hold(h.lock.Word.Load()) &^ waitqueue.Slow
		for at, r := range records {
			if r.state.Kind() == waitqueue.Waiting {
				list = append(list, s.blockers(key, name, h, place, records, at)...)
			}
		}
	}
	return list
}
