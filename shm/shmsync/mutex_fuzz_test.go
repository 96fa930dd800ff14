package shmsync_test

import (
	"context"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/tape"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// FuzzMutexWord: three holders, of which some live, and a word that may hold anything at any time. No process waits
// beyond its context; a process that gets the lock has it, and has taken it from no living process but itself; and a
// lock that no process garbles is given back.
func FuzzMutexWord(f *testing.F) {
	f.Add([]byte{3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 2, 1, 2, 0})
	f.Add([]byte{7, 3, 0, 0, 0x10, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0})
	f.Add([]byte{1, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 2, 2, 0, 1})
	f.Fuzz(func(t *testing.T, program []byte) {
		p := tape.New(program)
		bytes := make([]byte, 64)
		word, err := shm.At[shmsync.MutexWord](shm.NewRegion(bytes), 0)
		if err != nil {
			t.Fatal(err)
		}
		living := p.Below(8)
		alive := func(h shmsync.Peer) bool {
			return h.Row >= 0 && h.Row < 3 && living>>h.Row&1 != 0 && h.Incarnation == 7
		}
		var mutexes [3]*shmsync.Mutex
		var guards [3]*shmsync.MutexGuard
		for i := range mutexes {
			mutexes[i] = shmsync.NewMutex(word, shmsync.Self{Peer: shmsync.Peer{Row: i, Incarnation: 7}, Alive: alive})
		}
		garbled := false
		for n := 0; p.More() && n < 50; n++ {
			i := p.Below(3)
			switch p.Below(4) {
			case 0, 1:
				if guards[i] != nil {
					break
				}
				bounded, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
				lock := mutexes[i].Lock
				if p.Below(2) == 0 {
					lock = mutexes[i].LockOwnerDead
				}
				g, err := lock(bounded)
				cancel()
				if err != nil {
					break
				}
				if h, held := word.Owner(); !held || h.Row != i {
					t.Fatalf("%d has the lock, the word says %+v, %v", i, h, held)
				}
				if dead, abandoned := g.Abandoned(); abandoned && dead.Row != i && alive(dead) {
					t.Fatalf("taken over from %+v, who lives", dead)
				}
				guards[i] = &g
			case 2:
				if guards[i] != nil {
					guards[i].Unlock()
					guards[i] = nil
					if h, held := word.Owner(); !garbled && held && h.Row == i {
						t.Fatalf("%d has unlocked, the word says %+v", i, h)
					}
				}
			case 3:
				garbled = true
				v := p.Word()
				copy(bytes, []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)})
			}
		}
		for i := range guards {
			if guards[i] != nil {
				guards[i].Unlock()
			}
		}
		clear(bytes)
		for i := range mutexes {
			g, ok := mutexes[i].TryLock()
			if !ok {
				t.Fatalf("%d can't have a free lock", i)
			}
			g.Unlock()
		}
	})
}

// FuzzCount: a count in which anything may stand wakes and returns.
func FuzzCount(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4}, uint32(3))
	f.Add([]byte{255, 255, 255, 255}, uint32(0))
	f.Fuzz(func(t *testing.T, word []byte, seen uint32) {
		bytes := make([]byte, 64)
		copy(bytes[:4], word)
		c, err := shm.At[shmsync.EventCount](shm.NewRegion(bytes), 0)
		if err != nil {
			t.Fatal(err)
		}
		was := c.Load()
		if got := c.Await(t.Context(), seen, time.Microsecond); got != was {
			t.Errorf("Wait = %d, want %d", got, was)
		}
		c.Set()
		if c.Load() == 0 {
			t.Error("0 after Set")
		}
		before := c.Load()
		c.Advance()
		if c.Load() != before+1 {
			t.Errorf("%d after Add to %d", c.Load(), before)
		}
	})
}
