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
		w.readers[i].w.Store(reader{peer: p.Word(), times: 1}.word())
	}
	for i, p := range waiters {
		w.waiters[i].w.Store(p.Word())
	}
}

// State is the lock's.
func (w *LWLockWord) State() uint64 { return w.state.Load() }

// LatchSet is the state of a latch that is set.
const LatchSet = latchSet

// Leave lays out a latch.
func (w *LatchWord) Leave(state uint32) { w.state.Store(state) }

// MayBeAsleep reports whether a process has said that it is about to sleep.
func (w *LatchWord) MayBeAsleep() bool { return w.state.Load()&latchSleep != 0 }

// Clean reports whether the state is that of a latch that is slept on, and no more.
func (w *LatchWord) Clean() bool { return w.state.Load() == latchSleep }

// Leave lays out one party of a barrier.
func (w *BarrierWord) Leave(i int, p Peer, attached, arrived uint64) {
	w.parties[i].w.Store(party{peer: p.Word(), attached: attached, arrived: arrived}.inPhase(epochOf(w.epoch.Load()).phase).word())
}

// PeerMask is the owner in a lock's state.
const PeerMask = peerMask

// Drains reports whether a writer has said that it is about to sleep until the readers are gone.
func (w *LWLockWord) Drains() bool { return w.asleep.Load() != 0 }

// Readers is how many slots are in use.
func (w *LWLockWord) Readers() (n int) {
	for i := range w.readers {
		if !slotIsFree(w.readers[i].w.Load()) {
			n++
		}
	}
	return n
}

// Arrived is how many have arrived in the present phase.
func (w *BarrierWord) Arrived() (n int) {
	for i := range w.parties {
		n += int(partyOf(w.parties[i].w.Load()).inPhase(epochOf(w.epoch.Load()).phase).arrived)
	}
	return n
}

// Waiting reports whether a process has said that it waits.
func (w *MutexWord) Waiting() bool { return w.w.Load()&waiting != 0 }

// Name makes the word one that names m's session, which does not hold it.
func (w *MutexWord) Name(m *Mutex) { w.w.Store(m.self) }

// MayBeAsleep reports whether a process has said that it is about to sleep.
func (c *Cond) MayBeAsleep() bool { return c.w.Load()&condSleep != 0 }

// DealerSleeps reports whether the owner's dealer has said that it is about to sleep.
func (w *MailboxWord) DealerSleeps() bool { return w.wake.Load() != 0 }

// Garble overwrites the parts of a mailbox.
func (w *MailboxWord) Garble(wake, some uint32, done uint64) {
	w.wake.Store(wake)
	w.some.Store(some)
	for i := range w.done {
		w.done[i].Store(done)
	}
}

// Mark is the first step of a ring whose process dies then.
func (w *MailboxWord) Mark(bit uint32) { w.done[bit/64].Or(1 << (bit % 64)) }
