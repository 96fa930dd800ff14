package dsa

import (
	"flag"
	"fmt"
	"testing"
)

// A model of how a span is taken from a session that lives: take.go and alloc.go in small. Two sessions share one span of
// two blocks. Each allocates, frees, collects, gives, and takes from the other; each store waits in the session's store
// buffer until some later moment, as on a processor that lets loads overtake stores; one session may die after any step.
// The search goes through every order. It fails when a block is given twice, or is lost to both.

// Words of the model's memory, which are stored through a buffer.
const (
	wUsed = iota
	wNote0
	wNote1
)

// Notes: nothing, the span, or a block.
const (
	noteNone = iota
	noteSpan
	noteBlock // and the block's number
)

type mutation string

const (
	correct    mutation = ""
	noFence    mutation = "no fence"
	noLoad     mutation = "the state is not loaded"
	noNotes    mutation = "notes are not read"
	blockFirst mutation = "the block is noted before the state is loaded"
)

type model struct {
	mutation
	work  uint8 // frees, takes and so on of each session
	seen  map[modelState]struct{}
	queue []modelState
	fault string
}

func (m *model) fail(format string, args ...any) {
	if m.fault == "" {
		m.fault = fmt.Sprintf(format, args...)
	}
}

func (m *model) add(s modelState) {
	if _, ok := m.seen[s]; !ok {
		m.seen[s] = struct{}{}
		m.queue = append(m.queue, s)
	}
}

func (s *modelState) owns(i int, m mutation) bool {
	q := &s.sessions[i]
	return m == noLoad || s.kind == mOwned && int(s.owner) == i && s.life == q.mine
}

// harvest is a step of the session that has the span to itself.
func (s *modelState) harvest(i int) {
	s.store(i, wUsed, s.load(i, wUsed)&^s.freed)
	s.flush(i) // freed is changed by an exchange
	s.freed = 0
}

// step does the next step of session i. It reports false if that has to wait.
func (m *model) step(s *modelState, i int) bool {
	q, other := &s.sessions[i], 1-i
	q.at++
	switch q.op {
	case opAlloc:
		m.alloc(s, i)
	case opFree:
		m.free(s, i)
	case opCollect:
		switch q.at {
		case 1:
			s.note(i, noteSpan)
		case 2:
			if !s.owns(i, m.mutation) {
				q.mine = 0
				s.note(i, noteNone)
				s.over(i)
			}
		case 3:
			q.used = s.freed
			s.store(i, wUsed, s.load(i, wUsed)&^q.used)
		case 4:
			s.flush(i)
			s.freed &^= q.used
		default:
			s.note(i, noteNone)
			s.over(i)
		}
	case opGive, opTake, opRecover:
		if q.at == 1 {
			if s.lock != 0 {
				return false
			}
			s.flush(i)
			s.lock = uint8(i + 1)
			return true
		}
		if m.locked(s, i, other); q.op == opIdle {
			s.flush(i)
			s.lock = 0
		}
	}
	return true
}

func (m *model) alloc(s *modelState, i int) {
	q := &s.sessions[i]
	choose := func() {
		q.used = s.load(i, wUsed)
		for q.block = 0; q.block < 2 && q.used>>q.block&1 != 0; q.block++ {
		}
	}
	switch q.at {
	case 1:
		if m.mutation != blockFirst {
			s.note(i, noteSpan)
			return
		}
		if choose(); q.block == 2 {
			s.over(i)
		}
	case 2:
		if m.mutation == blockFirst {
			s.note(i, noteBlock+q.block)
		}
	case 3:
		if !s.owns(i, m.mutation) {
			q.mine = 0
			s.note(i, noteNone)
			s.over(i)
		}
	case 4:
		if m.mutation == blockFirst {
			return
		}
		if choose(); q.block == 2 {
			s.note(i, noteNone)
			s.over(i)
			return
		}
		s.note(i, noteBlock+q.block)
	case 5:
		if s.holder[q.block] != 0 {
			m.fail("session %d gets block %d, which session %d has", i, q.block, s.holder[q.block]-1)
		}
		s.store(i, wUsed, q.used|1<<q.block)
		s.holder[q.block] = uint8(i + 1)
	default:
		s.note(i, noteNone)
		s.over(i)
	}
}

func (m *model) free(s *modelState, i int) {
	q := &s.sessions[i]
	switch q.at {
	case 1:
		q.used = s.load(i, wUsed)
	case 2:
		s.note(i, noteBlock+q.block)
	case 3:
		if s.kind == mOwned && int(s.owner) == i {
			q.at = 9
		}
	case 4: // freed by compare-and-swap, and the note struck: what is in between is the stamp's business
		s.flush(i)
		s.freed |= 1 << q.block
		s.holder[q.block] = 0
		s.note(i, noteNone)
		s.over(i)
	case 10:
		s.holder[q.block] = 0
		s.store(i, wUsed, q.used&^(1<<q.block))
	default:
		s.note(i, noteNone)
		s.over(i)
	}
}

// locked is what a session does under the area's lock.
func (m *model) locked(s *modelState, i, other int) {
	q := &s.sessions[i]
	switch {
	case q.op == opGive && q.at == 2:
		if q.mine == 0 || s.kind != mOwned || int(s.owner) != i || s.life != q.mine {
			q.mine = 0
			s.over(i)
			return
		}
		s.kind = mContested
	case q.op == opGive:
		s.harvest(i)
		s.kind, q.mine = mPartial, 0
		s.over(i)
	case q.op == opRecover && q.at == 2:
		if b := s.word[wNote0+other]; b >= noteBlock {
			b -= noteBlock
			if (s.load(i, wUsed)&^s.freed)>>b&1 != 0 {
				if s.holder[b] == uint8(i+1) {
					m.fail("recovery of session %d frees block %d, which session %d has", other, b, i)
				}
				s.freed |= 1 << b
				s.holder[b] = 0
			}
		}
		s.word[wNote0+other] = noteNone
	case q.op == opRecover && q.at == 3:
		if s.kind == mOwned && int(s.owner) == other {
			s.kind = mContested
		} else {
			s.over(i)
		}
	case q.op == opRecover:
		s.harvest(i)
		s.kind = mPartial
		s.over(i)
	case q.at == 2: // take
		switch {
		case s.kind == mPartial:
			q.at = 9
		case s.kind == mOwned && int(s.owner) == other && !s.sessions[other].dead:
			s.kind = mContested
		case s.kind != mContested:
			s.over(i)
		}
	case q.at == 3:
		if m.mutation != noFence {
			s.flush(other)
		}
	case q.at == 4:
		if m.mutation != noNotes && (s.word[wNote0] != noteNone || s.word[wNote1] != noteNone) {
			s.over(i) // it stays contested
		}
	case q.at == 5:
		s.harvest(i)
	default:
		s.kind, s.owner, s.life = mOwned, uint8(i), s.life+1
		q.mine = s.life
		s.harvest(i)
		s.over(i)
	}
}

// begin adds each operation that session i can begin.
func (m *model) begin(s modelState, i int) {
	q, other := &s.sessions[i], 1-i
	start := func(op, block uint8, work *uint8) {
		if *work > 0 {
			*work--
			next := s
			next.sessions[i].op, next.sessions[i].block = op, block
			m.add(next)
			*work++
		}
	}
	if q.mine != 0 {
		start(opAlloc, 0, &q.allocs)
		start(opCollect, 0, &q.work)
		start(opGive, 0, &q.work)
	} else {
		start(opTake, 0, &q.work)
	}
	for b := range uint8(2) {
		if s.holder[b] == uint8(i+1) {
			start(opFree, b, &q.work)
		}
	}
	if s.sessions[other].dead && s.sessions[other].op != opIdle { // not yet recovered
		next := s
		next.sessions[i].op = opRecover
		next.sessions[other].op = opIdle
		m.add(next)
	}
}

// run goes through all states, and returns how many there are.
func (m *model) run() int {
	m.seen = map[modelState]struct{}{}
	first := modelState{kind: mOwned, life: 1, mayDie: true}
	for i := range first.sessions {
		first.sessions[i] = modelSession{allocs: 2, work: m.work}
	}
	first.sessions[0].mine = 1
	m.add(first)
	for len(m.queue) > 0 && m.fault == "" {
		s := m.queue[len(m.queue)-1]
		m.queue = m.queue[:len(m.queue)-1]
		quiet := true
		for i := range s.sessions {
			q := &s.sessions[i]
			quiet = quiet && q.op == opIdle && q.buffered == 0
			if q.buffered > 0 {
				next := s
				next.drain(i)
				m.add(next)
			}
			if q.dead {
				continue
			}
			if q.op == opIdle {
				m.begin(s, i)
				continue
			}
			next := s
			if m.step(&next, i) {
				m.add(next)
			}
			if s.mayDie && q.op != opRecover {
				next := s
				next.flush(i) // it has come to rest before others find it dead
				next.mayDie, next.sessions[i].dead, next.sessions[i].mine = false, true, 0
				if next.lock == uint8(i+1) {
					next.lock = 0
				}
				m.add(next)
			}
		}
		if !quiet {
			continue
		}
		for b := range 2 {
			if is := (s.word[wUsed]&^s.freed)>>b&1 != 0; is != (s.holder[b] != 0) {
				m.fail("block %d is allocated: %v, and session %d has it", b, is, int(s.holder[b])-1)
			}
		}
	}
	return len(m.seen)
}

var modelWork = flag.Int("model", 2, "how much each session of TestTakeModel does; 3 takes a minute and 2 GB")

// TestTakeModel: the protocol of taking spans holds in each order of steps, and each part of it is needed.
func TestTakeModel(t *testing.T) {
	work := uint8(*modelWork)
	m := model{work: work}
	n := m.run()
	if m.fault != "" {
		t.Error(m.fault)
	}
	t.Logf("%d states", n)
	for _, mut := range []mutation{noFence, noLoad, noNotes, blockFirst} {
		m := model{mutation: mut, work: work}
		n := m.run()
		if m.fault == "" {
			t.Errorf("%s: not caught in %d states", mut, n)
		}
		t.Logf("%s: %s (%d states)", mut, m.fault, n)
	}
}
