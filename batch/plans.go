package batch

import (
	"cmp"
	"slices"
)

// plans are the planner: rules, the memory of Get, and what one plan needs for the next.
type plans[Cmd, Res any, Group, Key comparable] struct {
	rules   Rules[Cmd, Res, Group, Key]
	cache   cache[Group, Key, Res]
	groups  map[Group]int // of the plan under way: in order of appearance
	ranks   []int         // of groups
	keys    map[Key]place // the last entry of each key
	streams map[*stream]place
	places  []place // of entries, in order of appearance
	drafts  []draft[Cmd, Res, Group, Key]
	tags    []tag[Group, Key] // of the plan's entries
	parts   []Cmd
	results []Res
	wrote   []Cmd
}

// draft is an entry before the order is known.
type draft[Cmd, Res any, Group, Key comparable] struct {
	entry entry[Cmd, Res]
	cmd   Cmd
	tag   tag[Group, Key]
}

// tag is what an entry reads or writes.
type tag[Group, Key comparable] struct {
	group Group
	key   Key
	keyed bool
}

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

func (ps *plans[Cmd, Res, Group, Key]) hits() uint64 { return ps.cache.hits.Load() }

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

func (ps *plans[Cmd, Res, Group, Key]) plan(p *plan[Cmd, Res], calls []*call[Cmd, Res], merge bool,
	e *Engine[Cmd, Res]) {
	clear(ps.groups)
	clear(ps.keys)
	clear(ps.streams)
	clear(ps.drafts)
	ps.drafts, ps.places, ps.ranks = ps.drafts[:0], ps.places[:0], ps.ranks[:0]
	p.merged, p.shared, p.writes, p.interactions = 0, 0, 0, 0
	floor, top := 0, -1 // levels: no entry goes below the first; the second is the highest in use
	for _, c := range calls {
		if c.fence {
			continue
		}
		c.next = nil
		t, read, err := ps.askRules(c)
		if err != nil {
			e.count(func(s *Stats) { s.Commands++; s.Failed++ })
			e.answer(c, c.res, &Error{Class: Row, Err: err})
			continue
		}
		at := place{level: floor, entry: len(ps.drafts)}
		if c.interact != nil {
			at.level, at.group = top+1, -1
			p.interactions++
		} else {
			at.group = ps.group(t.group)
			at.rank = ps.ranks[at.group]
			if !t.keyed {
				at.level = top + 1
			}
		}
		streamed, ordered := ps.streams[c.stream]
		ordered = ordered && c.stream != nil
		if last, ok := ps.keys[t.key]; ok && t.keyed {
			if (!ordered || streamed.before(last) || streamed.entry == last.entry) && last.level >= floor &&
				last.group == at.group && ps.join(last.entry, c, read, merge) {
				if c.stream != nil {
					ps.streams[c.stream] = last
				}
				p.shared++
				if !read {
					p.merged++
				}
				continue
			}
			at.after(last)
		}
		if ordered {
			at.after(streamed)
		}
		top = max(top, at.level)
		if !t.keyed {
			floor = at.level + 1
		} else {
			ps.keys[t.key] = at
		}
		if c.stream != nil {
			ps.streams[c.stream] = at
		}
		if !read {
			p.writes++
		}
		ps.places = append(ps.places, at)
		ps.drafts = append(ps.drafts, draft[Cmd, Res, Group, Key]{
			entry: entry[Cmd, Res]{first: c, last: c, n: 1, read: read},
			cmd:   c.cmd,
			tag:   t,
		})
	}
	ps.arrange(p)
}

// askRules asks the rules about a command.
func (ps *plans[Cmd, Res, Group, Key]) askRules(c *call[Cmd, Res]) (t tag[Group, Key], read bool, err error) {
	if c.interact != nil {
		return t, false, nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = panicked("a rule", v)
		}
	}()
	if ps.rules.Group != nil {
		t.group = ps.rules.Group(c.cmd)
	}
	if ps.rules.Key != nil {
		t.key, t.keyed = ps.rules.Key(c.cmd)
	}
	return t, ps.rules.Read != nil && ps.rules.Read(c.cmd), nil
}

// group returns a group's number in this plan, and sees to its rank.
func (ps *plans[Cmd, Res, Group, Key]) group(g Group) int {
	n, ok := ps.groups[g]
	if !ok {
		n = len(ps.ranks)
		ps.groups[g] = n
		rank := n
		if ps.rules.Rank != nil {
			rank = ps.rules.Rank(g)
		}
		ps.ranks = append(ps.ranks, rank)
	}
	return n
}

// join lets an entry answer one more call, if that is exact, and reports whether it does.
func (ps *plans[Cmd, Res, Group, Key]) join(x int, c *call[Cmd, Res], read, merge bool) (ok bool) {
	d := &ps.drafts[x]
	if read != d.entry.read || !read && (!merge || ps.rules.Merge == nil) {
		return false
	}
	if !read {
		defer func() {
			if recover() != nil { // it is executed by itself, where its own error shows
				ok = false
			}
		}()
		m, ok := ps.rules.Merge(d.cmd, c.cmd)
		if !ok {
			return false
		}
		d.cmd = m
	}
	d.entry.last.next = c
	d.entry.last = c
	d.entry.n++
	return true
}

// arrange brings the drafts into the order of their places.
func (ps *plans[Cmd, Res, Group, Key]) arrange(p *plan[Cmd, Res]) {
	slices.SortFunc(ps.places, func(a, b place) int {
		if c := cmp.Compare(a.level, b.level); c != 0 {
			return c
		}
		if c := cmp.Compare(a.rank, b.rank); c != 0 {
			return c
		}
		if c := cmp.Compare(a.group, b.group); c != 0 {
			return c
		}
		if ps.rules.Compare != nil && a.group >= 0 {
			if c := ps.compare(ps.drafts[a.entry].cmd, ps.drafts[b.entry].cmd); c != 0 {
				return c
			}
		}
		return cmp.Compare(a.entry, b.entry)
	})
	clear(p.entries)
	clear(p.cmds)
	clear(p.res)
	clear(ps.tags)
	p.entries, p.cmds, p.res, p.errs, ps.tags = p.entries[:0], p.cmds[:0], p.res[:0], p.errs[:0], ps.tags[:0]
	statement := 0
	for i, at := range ps.places {
		d := &ps.drafts[at.entry]
		if i > 0 && (at.level != ps.places[i-1].level || at.group != ps.places[i-1].group || at.group < 0) {
			statement++
		}
		d.entry.statement = statement
		p.entries = append(p.entries, d.entry)
		p.cmds = append(p.cmds, d.cmd)
		ps.tags = append(ps.tags, d.tag)
	}
	p.res = slices.Grow(p.res, len(p.cmds))[:len(p.cmds)]
	p.errs = slices.Grow(p.errs, len(p.cmds))[:len(p.cmds)]
	clear(p.errs)
}

// compare calls Rules.Compare; commands whose comparison panics count as equal.
func (ps *plans[Cmd, Res, Group, Key]) compare(a, b Cmd) (c int) {
	defer func() {
		if recover() != nil {
			c = 0
		}
	}()
	return ps.rules.Compare(a, b)
}

// storeShared stores the results of a shared entry in its calls.
func (ps *plans[Cmd, Res, Group, Key]) storeShared(p *plan[Cmd, Res], x int) (sure bool, err error) {
	e := &p.entries[x]
	if e.read {
		for c := e.first; c != nil; c = c.next {
			c.res = p.res[x]
		}
		return true, nil
	}
	defer func() {
		if v := recover(); v != nil {
			sure, err = false, panicked("Rules.Split", v)
		}
	}()
	ps.parts, ps.results = ps.parts[:0], ps.results[:0]
	for c := e.first; c != nil; c = c.next {
		ps.parts = append(ps.parts, c.cmd)
	}
	ps.results = slices.Grow(ps.results, len(ps.parts))[:len(ps.parts)]
	clear(ps.results)
	if ps.rules.Split == nil || !ps.rules.Split(p.res[x], ps.parts, ps.results) {
		return false, nil
	}
	i := 0
	for c := e.first; c != nil; c = c.next {
		c.res = ps.results[i]
		i++
	}
	return true, nil
}

func newPlans[Cmd, Res any, Group, Key comparable](rules Rules[Cmd, Res, Group, Key], cached int) *plans[Cmd, Res, Group, Key] {
	return &plans[Cmd, Res, Group, Key]{
		rules:   rules,
		cache:   cache[Group, Key, Res]{most: cached},
		groups:  map[Group]int{},
		keys:    map[Key]place{},
		streams: map[*stream]place{},
	}
}
