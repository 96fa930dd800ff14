// Package waits wakes the goroutines of a session that wait for other sessions when one of those dies.
//
// A peer is a session in a word, as shmsync.Peer.Word has it; 0 is none in particular.
package waits

import "sync"

// Waits is the goroutines of one session that sleep until another session has done something. The session's watcher
// wakes those that a death concerns, so that none of them has to ask from time to time whether the other one lives. A
// session has one, in Session.Self. All methods are safe for concurrent use. A nil Waits has no goroutine who wakes:
// then waits ask.
//
// How a wait and the news of a death meet:
//
//	the goroutine that waits                    the watcher, once it knows of a death
//	1. has a place (Wait.Join)                  1. marks each place for that session as in doubt
//	2. stores that it sleeps                    2. wakes: changes the word that the goroutine sleeps on
//	3. looks at what it waits for, and whether
//	   its place is in doubt
//	4. sleeps, while the word is as it stored it
//
// A place is in doubt from its beginning. So a death that the watcher has gone through before step 1 is found by the
// first look: the session asks whether the other one lives whenever its place is in doubt. A death after step 1 marks
// the place before the look at step 3, or changes the word after step 2. TestWaitsModel goes through every order.
//
// Who tells of a death, and what happens if it can't:
//
//	a session's process is dead      the kernel, to each session that waits for it (a pidfd on Linux)
//	the kernel can't tell            the supervisor's reclaim or, without one, that of the living session of the lowest row;
//	                                 the watcher asks for the session 60 times a second, the process that reclaims
//	a session has left in order      itself, after its row is free: what it held is as a dead session's
//	the process that tells is stopped,   the kernel's news and the watcher's questions come all the same; each second the watcher
//	or dies before it has told       looks at every place (Beat)
//	the watcher has ended            all are woken, and ask from then on (End)
//	a wake-up was lost, since its    the beat: it finds that the other side has moved on
//	sender died, or by a stray store
type Waits struct {
	follow func(p uint64, hint func()) (stop func(), told bool)
	want   func()

	mu      sync.Mutex
	groups  map[uint64]*group
	brief   map[*Wait]struct{} // those that any death may concern
	unheard int                // groups of whose death the kernel does not tell
	wanted  bool
	over    bool
}

// none is the peer of a wait for no session in particular.
const none = 0

// group is the places for one session. It stays until the next beat after the last of them.
type group struct {
	peer  uint64
	first *Wait
	stop  func() // of what tells of the session's death; nil if there is nothing to stop
	told  bool
}

// New returns the waits of a session. Follow has hint called when the session p has died, if the system can tell, until
// stop; hint is Doubt of p. Want is called when there is a wait that is to be woken at any death.
func New(follow func(p uint64, hint func()) (stop func(), told bool), want func()) *Waits {
	return &Waits{follow: follow, want: want, groups: map[uint64]*group{}, brief: map[*Wait]struct{}{}}
}

// Doubt has all that wait for p ask whether it lives.
func (ws *Waits) Doubt(p uint64) {
	if ws == nil {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if g := ws.groups[p]; g != nil {
		g.doubtLocked()
	}
}

// Died is called when sessions have died, or left: it has those ask that wait for one of which gone is true, and those
// that any death may concern. Gone must be cheap.
func (ws *Waits) Died(gone func(uint64) bool) {
	if ws == nil {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for p, g := range ws.groups {
		if p != none && gone(p) {
			g.doubtLocked()
		}
	}
	for w := range ws.brief {
		w.doubtLocked()
	}
}

// Beat looks at every place, as is done once a second: it wakes those that may have missed something, and asks dead, a
// question to the system, for some of the sessions that are waited for.
func (ws *Waits) Beat(dead func(uint64) bool) {
	if ws == nil {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for p, g := range ws.groups {
		if g.first == nil {
			ws.dropGroupLocked(p, g)
			continue
		}
		for w := g.first; w != nil; w = w.next {
			if w.Late == nil {
				w.doubtLocked()
			} else if w.Late() {
				w.wakeLocked()
			}
		}
	}
	ws.askLocked(dead, func(*group) bool { return true })
}

// Ask asks dead for those sessions of whose death the kernel does not tell, and reports whether there are such.
func (ws *Waits) Ask(dead func(uint64) bool) bool {
	if ws == nil {
		return false
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.unheard > 0 {
		ws.askLocked(dead, func(g *group) bool { return !g.told })
	}
	return ws.unheard > 0
}

// askAtOnce bounds the questions of one call: a question takes up to 20 microseconds where sessions are many.
const askAtOnce = 64

// askLocked asks, under ws.mu, for some sessions, others each time: a map's order is random.
func (ws *Waits) askLocked(dead func(uint64) bool, which func(*group) bool) {
	left := askAtOnce
	for p, g := range ws.groups {
		if left == 0 {
			return
		}
		if p != none && which(g) {
			left--
			if dead(p) {
				g.doubtLocked()
			}
		}
	}
}

// End is called when no goroutine will wake these waits any more: they ask from then on.
func (ws *Waits) End() {
	if ws == nil {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.over = true
	for p, g := range ws.groups {
		for w := g.first; w != nil; w = w.next {
			w.at.Store(0)
		}
		g.doubtLocked()
		for g.first != nil {
			g.first.leaveGroupLocked()
		}
		ws.dropGroupLocked(p, g)
	}
	clear(ws.brief)
}

// joinLocked gives a wait, under ws.mu, its place for p. It returns the group if a goroutine is to find out how news
// of the death of p comes.
func (ws *Waits) joinLocked(w *Wait, p uint64) (fresh *group) {
	w.leaveGroupLocked()
	g := ws.groups[p]
	if g == nil {
		g = &group{peer: p, told: true}
		ws.groups[p] = g
		if p != none {
			fresh = g
		}
	}
	w.in, w.next, w.prev = g, g.first, nil
	if g.first != nil {
		g.first.prev = w
	}
	g.first = w
	if !w.Stay {
		ws.brief[w] = struct{}{}
	}
	return fresh
}

// followGroup finds out, without ws.mu, how news of the death of a group's session comes.
func (ws *Waits) followGroup(g *group) {
	stop, told := ws.follow(g.peer, func() { ws.Doubt(g.peer) })
	if !told {
		ws.want()
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.groups[g.peer] != g { // the wait is over already
		if stop != nil {
			stop()
		}
		return
	}
	if g.stop, g.told = stop, told; !told {
		ws.unheard++
	}
}

// dropGroupLocked takes the group of p out of the map and stops what brings news for it. The caller holds ws.mu.
func (ws *Waits) dropGroupLocked(p uint64, g *group) {
	delete(ws.groups, p)
	if !g.told {
		ws.unheard--
	}
	if g.stop != nil {
		g.stop()
	}
}

// doubtLocked has each wait of the group ask for its peer. The caller holds the mu of the session's Waits.
func (g *group) doubtLocked() {
	for w := g.first; w != nil; w = w.next {
		w.doubtLocked()
	}
}
