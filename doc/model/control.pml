/*
 * The control protocol, for spin: package control, the lock of shmsync, and what internal/instance, dsm and supervisor
 * do around them. README.md says how to run it. Names are those of the Go code.
 *
 * Each step is one store to shared memory or one system call, with the loads that lead to it, and changes of memory
 * that dies with its process. Between any two a process may be killed, and any other may run. Loads in a section need
 * no step: what they read changes only in sections, but for the words of process rows. Where more than one store stands in
 * one step a comment says why the points between them are no different.
 *
 * What is left out: bytes, sizes and quotas; checksums but for one bit; in-process locking (one goroutine per
 * process); futex sleeping (a waiter tries whenever it could succeed); time (whoever waits for the lock waits until he has it).
 * Handles are serial numbers, so no two segments ever share one, as 48 random bits are taken to do.
 */

#ifndef N
#define N 2          /* processes that open sessions, one after another; number N is the supervisor */
#endif
#ifndef R
#define R 2          /* process rows for sessions; row 0 is the supervisor's */
#endif
#ifndef G
#define G 1          /* segment rows */
#endif
#ifndef H
#define H 2          /* segments that are ever created */
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef JOINS
#define JOINS 3      /* sessions that are ever opened */
#endif
#ifndef FAILS
#define FAILS 0      /* destroys that fail */
#endif
#ifndef FIRST
#define FIRST 0      /* the first process row whose user may be killed: 1 spares the supervisor */
#endif
/* PINS: sessions pin and unpin. STOP: the supervisor may be told to stop. MUT_...: bring a bug back. */

#define SUP N
#define step atomic
#ifdef MUT_SPLIT_WORD
#define wordStep     /* setWord is two stores then */
#else
#define wordStep atomic
#endif
#define bit(x) (1 << (x))

/* ---- shared memory ---- */

#define usedWord(i)        ((i) * 2 + 1)
#define freedWord(i)       ((i) * 2)
#define isUsedWord(w)        ((w) & 1)
#define wordIncarnation(w) ((w) / 2)

#define Free       0
#define Creating   1
#define Live       2
#define Destroying 3
#define nobody     7
#define segmentWord(s, row, i) ((s) | (row) << 2 | (i) << 5)
#define wordState(w)    ((w) & 3)
#define wordAgent(w)    (((w) >> 2) & 7)
#define agentInc(w)   ((w) >> 5)
#define wordHasAgent(w)  (wordState(w) == Creating || (wordState(w) == Destroying && wordAgent(w) != nobody))
#define current(w)    (wordAgent(w) <= R && processes[wordAgent(w)] == usedWord(agentInc(w)))
#define stamp(s)      segmentWord(s, row, inc)

typedef segmentRow {
	short word;
	byte handle;
	byte bits;       /* one for each process row */
	bit osWord;      /* the backend's word is there */
	bit check;       /* what the checksum was made of: sound if equal to osWord */
	bit pin
};

byte lock;               /* 0 or holder(row, incarnation) */
byte processes[R + 1];   /* the word of each row */
segmentRow segments[G];
byte usedRows;           /* derived */
bool closing;

#define holder(row, i) (((row) + 1) << 4 | (i))
#define holderRow(l)   (((l) >> 4) - 1)
#define holderInc(l)   ((l) & 15)

/* ---- the kernel ---- */

byte witness[R + 1];     /* who holds the row's byte, plus one; 0 nobody */
bool dead[N + 1];
byte mapped[N + 1];      /* segments in a process's address space, a bit for each handle */
byte object;             /* objects that exist, a bit for each handle */
bool ended;              /* the control segment is removed */

#define Held(row) (witness[row] != 0)
/* The owner fits a row, incarnation and all, and its witness is held. The code loads the word and asks the witness one after
 * the other; as the dead stay dead, what it then finds dead this finds dead too. */
#define alive(l) (processes[holderRow(l)] == usedWord(holderInc(l)) && Held(holderRow(l)))

/* ---- ghosts: what the properties are said with ---- */

byte serial;             /* handles given out */
byte kills, joins, fails;
bool inside[N + 1];      /* in a section */
byte destroyer[H + 1];   /* who destroyed the object last, plus one; 0 nobody, or he is dead; OVER: and the row was freed */
#define OVER 255

/* ---- the lock and the section: shmsync.Mutex, control.enter, control.leave ---- */

/* row and inc are the member; seen the lock's dead owner; g, h the segment row and handle that a call is about; owed the rows
 * that fell to the member, todo those it has taken from there; the others count. */
#define LOCALS byte me, row, inc, seen, g, h, r, i, k, owed, todo; bool last, leaving

inline forget() { row = 0; inc = 0; seen = 0; g = 0; h = 0; r = 0; i = 0; k = 0; owed = 0; todo = 0; last = 0; leaving = 0 }

inline goIn() {
	lock = holder(row, inc);
	d_step {
		assert(processes[row] == usedWord(inc)); /* nobody takes the row of one that lives: else ErrStale */
		do
		:: k <= N -> assert(k == me || !inside[k] || dead[k]); k++ /* exclusive among the living */
		:: else -> break
		od;
		k = 0; inside[me] = true
	}
}

inline enter() {
	do
	:: step { lock == 0 -> seen = 0; goIn(); break }
	:: step { lock != 0 && !alive(lock) && seen == 0 -> seen = lock }
	:: step { lock != 0 && seen != 0 && lock != seen -> seen = 0 }
	:: step { lock != 0 && seen != 0 && lock == seen -> goIn() }
#ifndef MUT_NO_REPAIR
	   repair();
#endif
	   step { seen = 0; break }
	od
}

/* leave is the end of a step. */
inline leave() {
	inside[me] = false;
#ifdef MUT_UNLOCK_STORE
	lock = 0
#else
	lock = (lock == holder(row, inc) -> 0 : lock) /* else it was taken over: this row was freed in this section */
#endif
}

/* ---- what sections do with rows: control/reclaim.go, repair.go, rows.go ---- */

/* The word of a segment row, stored at once. */
inline setWord(j, w) {
#ifdef MUT_SPLIT_WORD
	atomic { segments[j].word = (segments[j].word & ~3) | wordState(w) }
	atomic {
		if
		:: wordHasAgent(w) -> segments[j].word = w
		:: else /* live and free rows have no agent: the field stays as it was */
		fi
	}
#else
	segments[j].word = w
#endif
}

inline takeOver(j) { setWord(j, stamp(Destroying)); owed = owed | bit(j) }

#define moribund(j) (wordState(segments[j].word) == Live && segments[j].bits == 0 && !segments[j].pin)
#define agentIs(j, p) (wordHasAgent(segments[j].word) && wordAgent(segments[j].word) == (p))
#ifdef MUT_BITS_ONLY
#define falls(j, p) agentIs(j, p)
#else
#define falls(j, p) (agentIs(j, p) || moribund(j))
#endif

inline reclaimRow(p) {
	do
	:: step {
		do
		:: i < G && wordState(segments[i].word) == Free -> i++
		:: else -> break
		od;
		if
		:: i < G -> segments[i].bits = segments[i].bits & ~bit(p)
		:: else -> i = 0; break
		fi
	   }
	   wordStep {
		if
		:: falls(i, p) -> takeOver(i)
		:: else
		fi;
		i++
	   }
	od
}

/* For the member that took the lock over from the dead one. */
inline repair() {
	if
	:: processes[holderRow(seen)] == usedWord(holderInc(seen)) ->
		reclaimRow(holderRow(seen));
		freeProcess(holderRow(seen), usedWord(holderInc(seen)))
	:: else
	fi;
	settle()
}

#ifdef MUT_STEAL
#define orphan(j) wordHasAgent(segments[j].word)
#else
#define orphan(j) (wordHasAgent(segments[j].word) && !current(segments[j].word))
#endif
#define toSettle(j) (orphan(j) || moribund(j))

inline settle() {
	do
	:: wordStep {
		do
		:: i < G && !toSettle(i) -> i++
		:: else -> break
		od;
		if
		:: i < G -> takeOver(i); i++
		:: else -> i = 0; break
		fi
	   }
	od;
	step {
		usedRows = 0;
		do
		:: i < G -> usedRows = usedRows + (wordState(segments[i].word) != Free); i++
		:: else -> i = 0; break
		od
	}
}

inline freeProcess(p, w) {
	step {
#ifdef MUT_FREE_BY_STORE
		processes[p] = freedWord(wordIncarnation(w))
#else
		processes[p] = (processes[p] == (w) -> freedWord(wordIncarnation(w)) : processes[p]) /* else joined over in this moment */
#endif
	}
}

/* freeSegment frees row j and ends the section. */
inline freeSegment(j) {
	step { segments[j].bits = 0 }
	step { usedRows-- }
	wordStep { destroyer[segments[j].handle] = OVER; setWord(j, segmentWord(Free, 0, 0)) }
	step { leave() }
}

/* ---- objects: Backend.Destroy, Member.Destroyed, Member.Settle ---- */

/* A missing object is a success. */
inline osDestroy() {
	d_step {
		do
		:: k < N -> assert(closing || dead[k] || !(mapped[k] & bit(h))); k++ /* no destroyed object in use */
		:: else -> k = 0; break
		od;
		/* no double destroy: only by the one who did, or after he died before the row was free */
		assert(destroyer[h] == 0 || destroyer[h] == me + 1);
		object = object & ~bit(h);
		destroyer[h] = me + 1
	}
}

/* destroy removes the object of row j, which is destroying, by this member, and frees the row. */
inline destroy(j) {
	step {
		h = segments[j].handle;
#ifdef MUT_FREE_FIRST
	}
	enter(); freeSegment(j);
	step { object = object & ~bit(h) }
#else
		if
		:: true -> osDestroy(); last = true
#if FAILS
		:: fails < FAILS && !closing -> fails++; last = false
#endif
		fi
	}
	enter();
	assert(segments[j].word == stamp(Destroying) && segments[j].handle == h); /* else ErrCorrupt */
	if
	:: last -> freeSegment(j) /* Destroyed */
#if FAILS
	:: else -> wordStep { setWord(j, segmentWord(Destroying, nobody, 0)) } /* DestroyFailed */
	   step { leave() }
#endif
	fi
#endif
}

/* Settle destroys what fell to this member: Owed, then each. Unref, Unpin and Created come here too, with their own row in todo. */
inline Settle() {
	if
	:: owed != 0 && todo == 0 ->
		enter();
		step { todo = owed; owed = 0 }
		do
		:: wordStep {
			do
			:: r < G && !(todo & bit(r)) -> r++
			:: else -> break
			od;
			if
			:: r < G && segments[r].word != stamp(Destroying) -> todo = todo & ~bit(r); r++
			:: r < G && segments[r].word == stamp(Destroying) ->
				if
				:: segments[r].osWord == segments[r].check
#ifdef MUT_TORN_CHECK
				:: else -> setWord(r, segmentWord(Destroying, nobody, 0)); todo = todo & ~bit(r)
#else
				:: else -> segments[r].osWord = 0 /* its creator died between two stores: go by the name */
#endif
				fi;
				r++
			:: else -> leave(); r = 0; break
			fi
		   }
		od
	:: else
	fi;
	do
	:: step {
		do
		:: r < G && !(todo & bit(r)) -> r++
		:: else -> break
		od;
		if
		:: r < G
		:: else -> r = 0; todo = 0; h = 0; last = false; break
		fi
	   }
	   destroy(r); r++
	od
}

/* ---- the dead: Member.Reclaim, instance.ReclaimDead ---- */

#define isDead(p) (isUsedWord(processes[p]) && !Held(p))

/* Reclaim finishes for the user of row p that was found dead, when the row's word was h. */
inline Reclaim(p) {
	enter();
#ifndef MUT_SLOW_RECLAIMER
	if
	:: processes[p] == h && !Held(p) ->
#endif
#ifdef MUT_ROW_FIRST
		freeProcess(p, h); reclaimRow(p)
#else
		reclaimRow(p); freeProcess(p, h)
#endif
#ifndef MUT_SLOW_RECLAIMER
	:: else
	fi
#endif
	; step { leave(); h = 0; r = 0 }
}

inline ReclaimDead() {
	do
	:: step {
		do
		:: r <= R && (r == row || !isDead(r)) -> r++
		:: else -> break
		od;
		if
		:: r <= R -> h = processes[r]
		:: else -> r = 0; break
		fi
	   }
	   Reclaim(r)
	od
}

/* ---- joining and leaving: control/join.go, member.go ---- */

/* take tries to become the user of row. overDead: a used row whose witness is free will do. Then last says whether it
 * did, and h is the word before. */
inline take(overDead) {
	step {
		if
		:: !Held(row) -> witness[row] = me + 1; last = true
		:: else -> last = false
		fi
	}
	do
	:: last ->
#ifndef MUT_NO_SECOND_LOOK
		h = processes[row];
#endif
		step {
			if
#ifdef MUT_NO_SECOND_LOOK
			:: true -> inc = wordIncarnation(h) + 1; processes[row] = usedWord(inc); break
#else
			:: isUsedWord(h) && !(overDead) -> last = false; witness[row] = 0; break
			:: (overDead || !isUsedWord(h)) && processes[row] == h -> inc = wordIncarnation(h) + 1; processes[row] = usedWord(inc); break
			:: else ->
#ifdef MUT_ONE_TRY
				last = false; witness[row] = 0; break
#else
				skip /* a reclaimer has just freed it: another look */
#endif
#endif
			fi
		}
	:: else -> break
	od
}

#ifdef MUT_ARRIVE_OWING
#define owing (owed != 0 && isUsedWord(h))
#else
#define owing (owed != 0)
#endif

/* arrive is the first section of a member's life. Then last says whether the member may stay. */
inline arrive() {
	enter();
#ifndef MUT_NO_PREDECESSOR
	if
	:: isUsedWord(h) -> reclaimRow(row)
	:: else
	fi;
#endif
	if
	:: closing && row != 0 && owing -> last = false /* agent of something: the closer reclaims it from here */
	:: step { closing && row != 0 && !owing -> freeSelf(); last = false }
	:: else /* pid, name and time are for people */
	fi;
	step { leave(); h = 0 }
}

/* Whoever has freed his own row is rightly found dead until he unlocks. */
inline freeSelf() { processes[row] = freedWord(inc); inside[me] = false }

/* Leave gives everything back. Then, whenever this member owes nothing, tryLeave frees the row, if it is agent of nothing. */
inline Leave() {
	if
	:: !Held(0) && !closing -> ReclaimDead()
	:: else
	fi;
	step { mapped[me] = 0 } /* the owners' end: one by one these are Detach, which is tried too */
	enter(); reclaimRow(row); step { leave(); leaving = true } /* ReleaseAll */
}

inline tryLeave() {
	enter();
	step {
		do
		:: i < G && segments[i].word != stamp(Creating) && segments[i].word != stamp(Destroying) -> i++
		:: else -> break
		od;
#ifdef MUT_LEAVE_OWING
		i = G;
#endif
		if
		:: i < G -> i = 0; leave()
		:: else -> i = 0; freeSelf(); break
		fi
	}
}

/* ---- a session's calls: control/segment.go and dsm/holding.go ---- */

#ifdef MUT_OBJECT_FIRST
#define CAN_CREATE (h != 0)
#else
#define CAN_CREATE (serial < H)
#endif

/* Create makes a segment in row g. */
inline Create() {
#ifdef MUT_OBJECT_FIRST
	step {
		if
		:: serial < H -> serial++; h = serial; object = object | bit(h)
		:: else
		fi
	}
#endif
	enter();
	if
	:: atomic { !closing && wordState(segments[g].word) == Free && CAN_CREATE ->
#ifndef MUT_OBJECT_FIRST
		serial++; h = serial;
#endif
		/* Nobody reads these fields of a free row, and the next Create stores them all again: one step. */
		segments[g].handle = h; segments[g].osWord = 0; segments[g].check = 0; segments[g].pin = 0;
#ifndef MUT_OLD_BITS
		segments[g].bits = 0
#endif
	   }
	   step { segments[g].bits = segments[g].bits | bit(row) }
	   step { usedRows++ }
	   wordStep { setWord(g, stamp(Creating)) }
	   step { leave() }
	   step { /* Backend.Create makes and maps */
		if
		:: object = object | bit(h); mapped[me] = mapped[me] | bit(h); last = true
		:: last = false
		fi
	   }
	   enter();
	   assert(segments[g].word == stamp(Creating) && segments[g].handle == h); /* else ErrCorrupt */
	   if
	   :: last -> /* Created */
		step { segments[g].osWord = 1 }
		step { segments[g].check = 1 }
		if
		:: closing ->
			wordStep { setWord(g, stamp(Destroying)) }
			step { leave(); todo = bit(g) }
			step { mapped[me] = mapped[me] & ~bit(h) }
		:: else ->
			wordStep { setWord(g, segmentWord(Live, 0, 0)) }
			step { leave() }
		fi
	   :: else -> freeSegment(g) /* Abandon */
	   fi
	:: else -> step { leave() }
#ifdef MUT_OBJECT_FIRST
	   step { object = object & ~bit(h) }
#endif
	fi
}

#ifdef MUT_ANY_STATE
#define live() (wordState(segments[g].word) != Free && segments[g].handle == h)
#else
#define live() (wordState(segments[g].word) == Live && segments[g].handle == h)
#endif

/* A handle holds its row's number: here it is looked for instead. */
inline find() {
	do
	:: g < G - 1 && !(wordState(segments[g].word) != Free && segments[g].handle == h) -> g++
	:: else -> break
	od
}

/* Attach of handle h, which this session does not hold. One whose map fails is a Detach. */
inline Attach() {
#ifdef MUT_MAP_FIRST
	step { mapped[me] = mapped[me] | (object & bit(h)) }
#endif
	enter();
	step {
		find();
		last = !closing && live();
		if
		:: last -> assert(!(segments[g].bits & bit(row))); segments[g].bits = segments[g].bits | bit(row)
		:: else
		fi
	}
	step { leave() }
	step {
#ifdef MUT_MAP_FIRST
		if
		:: !last -> mapped[me] = mapped[me] & ~bit(h)
		:: else
		fi
#else
		if
		:: last && (object & bit(h)) -> mapped[me] = mapped[me] | bit(h)
		:: last && !(object & bit(h)) -> assert(closing) /* no lost reference */
		:: !last
		fi
#endif
	}
}

/* The end of a section: if nothing keeps row g any more it becomes destroying, by this member, who destroys the object. */
inline leaveLast() {
	if
	:: wordStep { moribund(g) -> setWord(g, stamp(Destroying)) } step { leave(); todo = bit(g) }
	:: step { !moribund(g) -> leave() }
	fi
}

/* Detach of handle h, which this session has mapped. */
inline Detach() {
	step { mapped[me] = mapped[me] & ~bit(h) }
	enter();
	step {
		find();
		assert(closing || (live() && (segments[g].bits & bit(row)))); /* no lost reference */
		segments[g].bits = (segments[g].handle == h -> segments[g].bits & ~bit(row) : segments[g].bits)
	}
	leaveLast()
}

/* Pin where nobody need keep the object open. Anybody may, attached or not. */
inline Pin() {
	enter();
	step { find(); segments[g].pin = segments[g].pin || (!closing && live()) }
	step { leave() }
}

inline Unpin() {
	enter();
	step {
		find();
		last = live() && segments[g].pin;
		segments[g].pin = segments[g].pin && !last
	}
	if
	:: last -> leaveLast()
	:: else -> step { leave() }
	fi
}

/* ---- processes ---- */

#if R == 1
#define living Held(1)
#define someoneDead isDead(1)
#elif R == 2
#define living (Held(1) || Held(2))
#define someoneDead (isDead(1) || isDead(2))
#else
#define living (Held(1) || Held(2) || Held(3))
#define someoneDead (isDead(1) || isDead(2) || isDead(3))
#endif

/* Handles travel by any way at all, so everybody knows all of them. */
#define mine(x)  (mapped[me] & bit(x))
#define other(x) ((x) <= serial && !mine(x))
#if H == 1
#define one(kind) kind(1)
#elif H == 2
#define one(kind) (kind(1) || kind(2))
#else
#define one(kind) (kind(1) || kind(2) || kind(3))
#endif

inline chooseHandle(kind1, kind2, kind3) {
	if
	:: kind1 -> h = 1
	:: H > 1 && kind2 -> h = 2
	:: H > 2 && kind3 -> h = 3
	fi
}

/* Connect and Table.Join: only where somebody lives; a free row, else a dead one. All processes are alike, so number 0 is first. */
inline join() {
	do
	:: step { !ended && joins < JOINS && (Held(0) || living) && (me == 0 || joins > 0) ->
		row = 1;
		do
		:: row < R && isUsedWord(processes[row]) -> row++
		:: else -> break
		od;
		if
		:: isUsedWord(processes[row]) ->
			row = 1;
			do
			:: row < R && Held(row) -> row++
			:: else -> break
			od
		:: else
		fi;
		h = processes[row]; r = isUsedWord(h); joins++
	   }
	   take(r);
	   if
	   :: last -> r = 0; break
	   :: else -> step { forget(); joins-- }
	   fi
	:: step { ended || joins == JOINS -> goto over }
	od
}

#ifdef MUT_LATE_SETTLE
#define settleNow (todo != 0 || (owed != 0 && leaving))
#else
#define settleNow (todo != 0 || owed != 0) /* what fell to the member by repair goes at the end of the call */
#endif

/* A session from Open to Close. */
inline session() {
	join();
	arrive();
	if
	:: last ->
		last = false;
		if
		:: !Held(0) -> ReclaimDead()
		:: else
		fi;
		do
		:: settleNow -> Settle()
		:: !settleNow && leaving -> tryLeave()
		:: else ->
			if
			:: step { !closing && serial < H ->
				do
				:: g < G - 1 -> g++
				:: break
				od
			   }
			   Create()
			:: step { one(mine) -> chooseHandle(mine(1), mine(2), mine(3)) } Detach()
			:: step { !closing && one(other) -> chooseHandle(other(1), other(2), other(3)) } Attach()
#ifdef PINS
			:: step { !closing && serial > 0 -> chooseHandle(1 <= serial, 2 <= serial, 3 <= serial) } Pin()
			:: step { !closing && serial > 0 -> chooseHandle(1 <= serial, 2 <= serial, 3 <= serial) } Unpin()
#endif
			:: true -> Leave() /* an if with else may not begin an option: spin would add its else to this if */
			:: true -> end_idle: false /* stays, and does no more */
			fi;
			step { g = 0; h = 0; last = false }
		od;
		step { leave() }
	:: else
	fi;
	step { witness[row] = 0; forget(); goto again } /* Drop */
}

proctype Session(byte id) {
	LOCALS;
	me = id;
again:
	{ session() } unless { dead[me] };
	step { forget(); inside[me] = false; dead[me] = false; goto again } /* another process in its clothes */
over:
	skip
}

#if G == 1
#define allFree (wordState(segments[0].word) == Free)
#define failed(j) (segments[j].word == segmentWord(Destroying, nobody, 0))
#define someFailed failed(0)
#else
#define allFree (wordState(segments[0].word) == Free && wordState(segments[1].word) == Free)
#define failed(j) (segments[j].word == segmentWord(Destroying, nobody, 0))
#define someFailed (failed(0) || failed(1))
#endif

/* Member.Retry and the loop of Member.Close: those rows fall to this member. */
inline takeAll(cond) {
	do
	:: wordStep {
		do
		:: i < G && !(cond) -> i++
		:: else -> break
		od;
		if
		:: i < G -> takeOver(i); i++
		:: else -> leave(); i = 0; break
		fi
	   }
	od
}

/* The end of a life: Member.End, without its timeout, in which everything else goes on. */
inline Close() {
	enter();
	step { closing = true; leaving = true }
	takeAll(wordState(segments[i].word) == Live || failed(i))
}

/* Start, in a directory that this process has locked: the first begins, later ones adopt what lives or end what does not. */
inline supervise() {
	todo = processes[0] == 0 || (living && !closing); /* go on? */
	take(true);
	assert(last); /* else ErrInUse */
	last = todo; todo = 0;
	arrive();
	if
	:: last -> last = false
	:: else -> Close()
	fi;
end_watch:
	do
	:: someoneDead -> ReclaimDead()
	:: owed != 0 -> Settle()
	:: someFailed && fails > 0 && owed == 0 -> enter(); takeAll(failed(i)) /* Retry, of what may go better this time */
	:: leaving && allFree && owed == 0 -> break
#ifdef STOP
	:: !leaving -> Close()
#endif
	od;
	step { ended = true; assert(object == 0) }
	step { witness[0] = 0; goto over }
}

proctype Supervisor(byte id) {
	LOCALS;
	me = id;
again:
	{ supervise() } unless { dead[me] };
	step {
		forget(); inside[me] = false; dead[me] = false;
		if
		:: ended -> goto over
		:: else -> goto again
		fi
	}
over:
	skip
}

/* A process that holds no witness has done nothing yet, or all: its death would change nothing. */
inline kill(p) {
	d_step {
		do
		:: i <= R -> witness[i] = (witness[i] == p + 1 -> 0 : witness[i]); i++
		:: else -> i = 0; break
		od;
		do
		:: i <= H -> destroyer[i] = (destroyer[i] == p + 1 -> 0 : destroyer[i]); i++
		:: else -> i = 0; break
		od;
		mapped[p] = 0; dead[p] = true; kills++
	}
}

proctype Killer() {
	byte i, p;
	do
	:: atomic { kills < KILLS ->
		do
		:: i < R -> i++
		:: break
		od;
		if
		:: witness[i] != 0 && i >= FIRST -> p = witness[i] - 1; i = 0; kill(p); p = 0
		:: else -> i = 0
		fi
	   }
	:: break
	od
}

/* When nothing can move any more: no leaked object, no lost reference, no row of the dead, nothing unfinished. */
proctype Audit() {
	byte i, p, there, count, held;
	timeout;
	d_step {
		assert(closing == ended); /* no deadlock in the closing */
		assert(lock == 0 || !alive(lock)); /* one who died between freeing his row and unlocking */
		do
		:: i < G ->
			if
			:: wordState(segments[i].word) == Free
			:: else ->
				assert(wordState(segments[i].word) == Live && (segments[i].bits != 0 || segments[i].pin));
				there = there | bit(segments[i].handle);
				count++;
				held = 0; p = 0;
				do
				:: p <= R ->
					if
					:: witness[p] != 0 && (mapped[witness[p] - 1] & bit(segments[i].handle)) -> held = held | bit(p)
					:: else
					fi;
					p++
				:: else -> p = 0; break
				od;
				assert(segments[i].bits == held)
			fi;
			i++
		:: else -> i = 0; break
		od;
		assert(object == there);
		assert(usedRows == count);
		do
		:: !ended && i <= R -> assert(isUsedWord(processes[i]) == Held(i)); i++
		:: else -> i = 0; break
		od
	}
}

init {
	byte i;
	atomic {
		run Supervisor(SUP);
		do
		:: i < N -> run Session(i); i++
		:: else -> i = 0; break
		od;
		run Killer();
		run Audit()
	}
}
