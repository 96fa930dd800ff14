package shared

import (
	"sync"

	"github.com/godsm/godsm/shm/shmsync"
)

// mostRings is how many rings wait for others. With more of them callers would wait while the leader still answers.
const mostRings = 128

// A bell collects what a leader has to ring, so that a session whose commands are answered together is woken once. What it has
// collected is rung before the leader waits for anything: by toll.
type bell struct {
	mu   sync.Mutex
	to   shmsync.Peer
	bits []uint32
}

// owe notes that the owner of a slot is to be rung. It runs at the shared bytes.
func (b *bell) owe(m *memory, slot int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	to := peerOf(m.blocks[slot/perBlock].owner.Load())
	if to != b.to || len(b.bits) == mostRings {
		b.tollLocked(m)
		b.to = to
	}
	b.bits = append(b.bits, m.slots[slot].bit.Load())
}

// toll rings what is owed.
func (b *bell) toll(m *memory) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tollLocked(m)
}

// tollLocked rings what is owed, under mu.
func (b *bell) tollLocked(m *memory) {
	if len(b.bits) > 0 {
		m.self.Mailbox.Ring(b.to, b.bits...)
		b.bits = b.bits[:0]
	}
}
