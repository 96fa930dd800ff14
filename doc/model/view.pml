/* View: the end of a session's permission to use shared bytes, in the midst of its calls. shmsync's LWLock as a structure has
 * it within its view (NewLWLockWithin), dshash's leave and settleLast, dsm's Detach and Close. README.md says more.
 *
 * Session A has CALLERS goroutines, each of which takes the lock and gives it back, and one that ends the view. The step "swap"
 * puts private bytes in the place of the shared ones, at once for all of A's goroutines: what a goroutine does afterwards is
 * what a goroutine of a killed process does not do. Session B is another process, which wants the lock in the end.
 *
 *   -DCLOSE         the session is closed: the swap waits for nothing, and B takes over once A's row is free.
 *                   Else one structure is detached, and A's session goes on: B gets the lock from A alone.
 *   -DMUT_NO_BAR    Detach does not change the word before it looks whether the lock is held
 *   -DMUT_EARLY     found by the model: it changes the word after others may let the bytes go
 *   -DMUT_LOOK      a call looks at the view before it loads the word
 *   -DMUT_SWAP      Detach swaps whether the lock is held or not
 *   -DMUT_SETTLE    who gives the lock back after the end does not look whether it was the last
 *   -DMUT_ROW       Close gives up the row before the swap
 */
#ifndef CALLERS
#define CALLERS 2
#endif
#define NONE 0
#define A 1
#define B 2

byte owner[2], number[2]; /* of the lock: [0] in the shared bytes, [1] in the private ones */
byte at;                  /* which of both A's goroutines reach: 1 after the swap */
bool ended, leaving, row = true; /* row: A's session has its row */
bool settling;            /* the mutex of settle */
byte inA, inB;            /* goroutines of each that are in, by the shared bytes */
byte over;                /* A's goroutines that are through */

inline settle() {
	atomic { !settling -> settling = true }
	if
	:: leaving && owner[at] != A -> leaving = false; at = 1 /* the last lease: the swap */
	:: else
	fi
	settling = false
}

proctype caller() {
	byte n, real;
	bool free, got;
again: skip;
#ifdef MUT_LOOK
	if
	:: ended -> goto out
	:: else
	fi
	d_step { n = number[at]; free = (owner[at] == NONE) }
#else
	d_step { n = number[at]; free = (owner[at] == NONE) } /* one load of the word */
	if
	:: ended -> goto out
	:: else
	fi
#endif
	d_step { /* the swap of the word */
		got = free && owner[at] == NONE && number[at] == n;
		real = at;
		if
		:: got -> owner[at] = A
		:: else
		fi
	}
	if
	:: !got -> goto again
	:: else
	fi
	if
	:: d_step { real == 0 && at == 0 -> inA++ }
	:: else
	fi
	/* what it stores here reaches the shared bytes as long as at is 0 */
	d_step {
		if
		:: at == 0 -> assert(inA == 1 && inB == 0)
		:: else
		fi
	}
	d_step { /* unlock */
		if
		:: real == 0 && at == 0 -> inA--
		:: else
		fi
		if
		:: owner[at] == A -> owner[at] = NONE; number[at] = (number[at] + 1) % 8
		:: else
		fi
	}
	if
	:: !ended -> goto out /* once is enough */
	:: else
	fi
out:
#if !defined(CLOSE) && !defined(MUT_SETTLE)
	if
	:: ended -> settle()
	:: else
	fi
#endif
	over++
}

proctype ender() {
	ended = true;
#ifdef CLOSE
#ifdef MUT_ROW
	row = false;
	at = 1
#else
	at = 1;
	row = false /* what was in is as what was killed */
#endif
#else
#ifdef MUT_EARLY
	leaving = true;
#endif
#ifndef MUT_NO_BAR
	d_step {
		if
		:: owner[0] == NONE -> number[0] = (number[0] + 1) % 8
		:: else
		fi
	}
#endif
	leaving = true;
#ifdef MUT_SWAP
	leaving = false; at = 1;
#else
	settle();
#endif
#endif
	over++
}

proctype other() {
	if
	:: atomic { owner[0] == NONE -> owner[0] = B }
	:: atomic { owner[0] == A && !row -> owner[0] = B } /* of one that is dead: taken over */
	fi
	d_step { inB++; assert(inA == 0 || at == 1) }
	d_step { assert(inA == 0 || at == 1); inB-- }
	d_step { owner[0] = NONE; number[0] = (number[0] + 1) % 8 }
}

init {
	byte i;
	atomic {
		do
		:: i < CALLERS -> run caller(); i++
		:: else -> break
		od;
		run ender();
		run other()
	}
	over == CALLERS + 1;
	/* All calls of A are over: the bytes have gone, and the lock is not A's; B, which may be waiting, gets it. */
	assert(at == 1 && !leaving);
#ifndef CLOSE
	assert(owner[0] != A)
#endif
}
