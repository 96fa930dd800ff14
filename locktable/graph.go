package locktable

import (
	"fmt"

	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/waitqueue"
)

// node is one that waits or holds: an owner of a session or, without one, a record or a hold in place by itself.
type node struct {
	row   int
	owner uint32
	only  uint64 // without an owner: what tells the hold
}

// wait is that one node waits for another, as two words of shared memory say.
type wait struct {
	from, to node
	ref      roster.Ref // of the waiter
	key      uint64     // of the head
	words    [2]uint64  // of the waiter's record, and of the hold or record that it waits for
	since    uint64     // of the waiter
	edge     Edge
}

// headOf returns the head that a record names, nil if there is none.
func (s *sight) headOf(key uint64) *head {
	part, n := key>>32, uint32(key)
	if part >= partitions || n%perPage == 0 {
		return nil
	}
	at, err := s.pageWord(&s.root.parts[part], int(n/perPage))
	if err != nil {
		return nil
	}
	heads, err := s.heads(at)
	if err != nil || heads == nil {
		return nil
	}
	return &heads[n%perPage]
}

// blockers returns for whom the waiter of a record waits.
func (s *sight) blockers(key uint64, name []byte, h *head, place waitqueue.Hold, records []seen, at int) (list []wait) {
	r := records[at]
	m := r.state.Mode()
	upgrades := r.state&waitqueue.Upgrading != 0
	from := s.recorded(r)
	add := func(to node, word uint64, p Party, holding string) {
		list = append(list, wait{
			from: nodeOf(r.ref, r.state), to: to, ref: r.ref, key: key, words: [2]uint64{uint64(r.state), word}, since: r.since,
			edge: Edge{Waiter: from, Holder: p, Name: key2name(name), Wanted: m, Holding: holding},
		})
	}
	if place.Mode().Conflicts(m) && !(upgrades && r.own == waitqueue.InPlace) {
		p := s.party(place.Row(), place.Owner())
		p.Mode, p.For = place.Mode(), s.age(h, place)
		to := node{place.Row(), place.Owner(), 0}
		if to.owner == 0 {
			to.only = uint64(place)
		}
		add(to, uint64(place), p, fmt.Sprintf("holds %s", p.Mode))
	}
	for i, o := range records {
		switch k := o.state.Kind(); {
		case i == at || !o.state.Mode().Conflicts(m):
		case k == waitqueue.Held && !(upgrades && r.own == waitqueue.Ref(o.ref)):
			below := s.blockersBelow(o.ref.Row(), name, o.state.Mode())
			for _, b := range below {
				add(b.node, uint64(o.state), b.Party, fmt.Sprintf("holds %s below it", b.Mode))
			}
			if len(below) == 0 {
				add(nodeOf(o.ref, o.state), uint64(o.state), s.recorded(o), fmt.Sprintf("holds %s", o.state.Mode()))
			}
		case k == waitqueue.Waiting && i < at && !upgrades && !o.passed:
			add(nodeOf(o.ref, o.state), uint64(o.state), s.recorded(o), fmt.Sprintf("waits for %s before it", o.state.Mode()))
		}
	}
	return list
}

func nodeOf(ref roster.Ref, s waitqueue.State) node {
	n := node{ref.Row(), s.Owner(), 0}
	if n.owner == 0 {
		n.only = uint64(ref) | 1<<63
	}
	return n
}

func key2name(name []byte) string { return key{b: name}.String() }

// child is a hold below a name.
type child struct {
	node
	Party
}

// blockersBelow returns the owners of a session whose holds below a name its intent of the name is for; nothing for
// other modes.
func (s *sight) blockersBelow(row int, name []byte, m Mode) (list []child) {
	if m != IntentShared && m != IntentExclusive {
		return nil
	}
	for i := range s.root.parts {
		s.eachHead(i, func(n uint32, h *head) bool {
			place := waitqueue.Hold(h.lock.Word.Load())
			mine := place.Mode() != 0 && place.Row() == row && place.Owner() != 0 && place.Mode().Intent() == m
			records := s.records[keyOf(i, n)]
			for _, r := range records {
				mine = mine || r.state.Kind() == waitqueue.Held && r.ref.Row() == row
			}
			if !mine {
				return true
			}
			full, ok := s.nameOf(nil, h)
			if !ok || len(full) <= len(name) || string(full[:len(name)]) != string(name) {
				return true
			}
			if place.Mode() != 0 && place.Row() == row && place.Owner() != 0 && place.Mode().Intent() == m {
				p := s.party(row, place.Owner())
				p.Mode = place.Mode()
				list = append(list, child{node{row, place.Owner(), 0}, p})
			}
			for _, r := range records {
				if r.state.Kind() == waitqueue.Held && r.ref.Row() == row && r.state.Owner() != 0 && r.state.Mode().Intent() == m {
					list = append(list, child{node{row, r.state.Owner(), 0}, s.recorded(r)})
				}
			}
			return true
		})
	}
	return list
}

// cycleFrom returns a way from a node back to it, over owners alone.
func cycleFrom(list []wait, start node) []wait {
	out := map[node][]wait{}
	for _, w := range list {
		if w.from.owner != 0 && w.to.owner != 0 && w.from != w.to {
			out[w.from] = append(out[w.from], w)
		}
	}
	tried := map[node]bool{}
	var way []wait
	var visit func(n node) bool
	visit = func(n node) bool {
		for _, w := range out[n] {
			if w.to == start {
				way = append(way, w)
				return true
			}
			if !tried[w.to] {
				tried[w.to] = true
				way = append(way, w)
				if visit(w.to) {
					return true
				}
				way = way[:len(way)-1]
			}
		}
		return false
	}
	if visit(start) {
		return way
	}
	return nil
}

// deadlock looks whether an owner of this session is in a cycle of owners, and whether the one of it that has begun to
// wait last is mine: then it returns the cycle. It takes no lock: each step of the cycle is read twice, and words that
// were the same twice, which are never the same for two holds or waits, were so at every moment between the two
// readings.
func (t *Table) deadlock(owner uint32, mine func(roster.Ref) bool) (edges []Edge) {
	if owner == 0 {
		return nil
	}
	look := func() (list []wait) {
		_ = t.contained(func(s *sight) { list = s.waits() })
		return list
	}
	start := node{t.self.Row, owner, 0}
	way := cycleFrom(look(), start)
	if way == nil {
		return nil
	}
	again := map[[3]uint64]bool{}
	for _, x := range look() {
		again[[3]uint64{uint64(x.ref), x.words[0], x.words[1]}] = true
	}
	last := way[0]
	for _, x := range way {
		if !again[[3]uint64{uint64(x.ref), x.words[0], x.words[1]}] {
			return nil
		}
		if x.since > last.since || x.since == last.since && x.ref > last.ref {
			last = x
		}
		edges = append(edges, x.edge)
	}
	if !mine(last.ref) {
		return nil
	}
	return edges
}
