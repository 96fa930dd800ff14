package shmsync_test

import (
	"sync"

	"github.com/godsm/godsm/shm/shmsync"
)

// world is sessions that live until they are killed.
type world struct {
	mu   sync.Mutex
	dead map[shmsync.Peer]bool
}

func (w *world) alive(p shmsync.Peer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.dead[p]
}

func (w *world) self(row int) shmsync.Self {
	return shmsync.Self{Peer: shmsync.Peer{Row: row, Incarnation: uint32(row) + 1<<31}, Alive: w.alive}
}

func (w *world) kill(row int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead == nil {
		w.dead = map[shmsync.Peer]bool{}
	}
	w.dead[w.self(row).Peer] = true
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
