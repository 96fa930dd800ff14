package shmsync

// What a process may leave behind that dies between two instructions, for tests to lay out.

// Bits of a lock's state.
const (
	MayRead, SleepX, SleepS, Hungry, Abandoned, Poisoned = mayRead, sleepX, sleepS, hungry, abandoned, poisoned
)

// Leave lays out a lock: its state with the owner in it, readers and waiters once each.
func (w *LWLockWord) Leave(owner *Peer, flags uint64, readers, waiters []Peer) {
	if owner != nil {
		flags |= owner.Word()
	}
	w.state.Store(flags)
	for i, p := range readers {
		w.readers[i].w.Store(p.Word() + unit)
	}
	for i, p := range waiters {
		w.waiters[i].w.Store(p.Word())
	}
}

// State is the lock's.
func (w *LWLockWord) State() uint64 { return w.state.Load() }

// Leave lays out a latch.
func (w *LatchWord) Leave(state uint32) { w.state.Store(state) }

// MayBeAsleep says whether somebody has said that he is about to sleep.
func (w *LatchWord) MayBeAsleep() bool { return w.state.Load()&latchSleep != 0 }

// Leave lays out one party of a barrier.
func (w *BarrierWord) Leave(i int, p Peer, attached, arrived uint64) {
	w.parties[i].w.Store(party{attached, arrived, uint64(uint32(w.epoch.Load()) % 32)}.word(p.Word()))
}
