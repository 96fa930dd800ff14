/* Lives: two directories with equal contents over one memory. internal/instance's starts, ends and deaths, as far as they decide
 * what may be removed from the system. README.md says more.
 *
 * A directory lists lives. Each life has one object, its control segment; what else bears the life goes with it. A process that
 * lives in a life holds its witness M in the members file of one directory, and has the object in use (C). A death gives back
 * both, one after the other. Any process may die after any step.
 *
 *   -DMUT_NO_C      a start asks M alone: a copy removes the original's object
 *   -DMUT_LATE      a life is listed after its object was made
 *   -DMUT_EARLY     a life is struck before its object is removed
 */
#ifndef STARTS
#define STARTS 3 /* in all; each draws a life */
#endif
#ifndef SESSIONS
#define SESSIONS 2
#endif
#define LIVES (STARTS + 1)

bool listed[2 * LIVES];  /* directory d lists life x */
byte m[2 * LIVES];       /* processes that hold their witness in d's members file of x */
byte present[2];         /* the life that d's file instance names; 0: none */
bool object[LIVES];      /* x's control segment is there */
byte users[LIVES];       /* processes that have it open */
bool locked[2];
bool copied;
byte drawn;
byte over;               /* processes that have ended */

#define AT(d, x) ((d) * LIVES + (x))
#define LISTED(x) (listed[AT(0, x)] || listed[AT(1, x)])

/* An object that is there is listed by a directory, always: whatever dies next, a start finds it. */
#define FOUND(x) (!object[x] || LISTED(x))

inline check() {
	d_step {
		x = 1;
		do
		:: x < LIVES -> assert(FOUND(x)); x++
		:: else -> break
		od
	}
}

/* die gives back what the process has of life in d: its mappings and its locks, in either order. */
inline die(d, life) {
	if
	:: d_step { users[life]--; } d_step { m[AT(d, life)]--; }
	:: d_step { m[AT(d, life)]--; } d_step { users[life]--; }
	fi
}

/* The second directory becomes a copy of the first, at any moment: a snapshot. Locks and users are not copied. */
active proctype Copy() {
	byte x;
	atomic {
		!locked[1];
		x = 1;
		do
		:: x < LIVES -> listed[AT(1, x)] = listed[AT(1, x)] || listed[AT(0, x)]; x++
		:: else -> break
		od;
		present[1] = present[0];
		copied = true
	}
}

/* judge and remove, for each life that d lists. */
inline clear(d) {
	y = 1;
	do
	:: y < LIVES ->
		if
		:: !listed[AT(d, y)] -> skip
		:: listed[AT(d, y)] && m[AT(d, y)] > 0 -> skip /* alive: adopted, or fenced */
		:: listed[AT(d, y)] && m[AT(d, y)] == 0 ->
			atomic { /* one question to the kernel */
				there = object[y];
#ifdef MUT_NO_C
				free = true
#else
				free = (users[y] == 0)
#endif
			}
			if
			:: free ->
#ifdef MUT_EARLY
				listed[AT(d, y)] = false;
				check();
#endif
				/* here others may act */
				atomic {
					if
					:: there -> assert(!object[y] || users[y] == 0); object[y] = false
					:: !there && object[y] && users[y] == 0 -> object[y] = false /* each is asked for then */
					:: else
					fi
				}
				if
				:: goto dead
				:: listed[AT(d, y)] = false
				fi
			:: else -> skip /* in use elsewhere: it stays listed */
			fi
		fi;
		y++
	:: else -> break
	od
}

proctype Start(byte d) {
	byte x, y, life;
	bool free, there;
	atomic { !locked[d]; locked[d] = true; }
	atomic {
	life = present[d];
	if
	:: life > 0 && m[AT(d, life)] > 0 && users[life] > 0 && object[life] -> /* adopt */
		m[AT(d, life)]++; users[life]++;
		goto running
	:: else
	fi
	}
	clear(d);
	atomic { drawn++; life = drawn; }
#ifndef MUT_LATE
	listed[AT(d, life)] = true;
	if
	:: goto dead
	:: skip
	fi;
#endif
	m[AT(d, life)]++;
	if
	:: m[AT(d, life)]--; goto dead
	:: present[d] = life
	fi;
	d_step { object[life] = true; users[life]++; }
	check();
#ifdef MUT_LATE
	listed[AT(d, life)] = true;
#endif
running:
	check();
	if
	:: die(d, life) /* killed */
	:: (m[AT(d, life)] == 1) -> /* an orderly end, when the sessions have left */
		present[d] = 0;
		object[life] = false;
		if
		:: die(d, life)
		:: die(d, life); listed[AT(d, life)] = false
		fi
	fi;
dead:
	check();
	locked[d] = false;
	over++
}

/* A session joins by a directory in which a process of the life lives. What is left out, here and in adoption: a join in the
 * microseconds in which that process is dying, its memory unmapped and its lock still held, while the other directory's start
 * removes what it found unused. */
proctype Session(byte d) {
	byte x, life;
	if
	:: atomic {
		present[d] > 0 && m[AT(d, present[d])] > 0 &&
		users[present[d]] > 0 && object[present[d]] ->
		life = present[d]; m[AT(d, life)]++; users[life]++
	}
	:: goto gone
	fi;
	/* what it has open is there as long as it lives, but for an end that its supervisor decides: that waits here */
	check();
	die(d, life);
gone:
	over++
}

/* At rest one start of each directory more, with nobody alive, leaves no object. */
proctype Last(byte d) {
	byte x, y;
	bool free, there;
	atomic { !locked[d]; locked[d] = true; }
	clear(d);
dead:
	locked[d] = false;
	over++
}

init {
	byte n, d, x;
	atomic {
		n = 0;
		do
		:: n < STARTS -> d = 0; if :: d = 0 :: d = 1 fi; run Start(d); n++
		:: else -> break
		od;
		n = 0;
		do
		:: n < SESSIONS -> if :: d = 0 :: d = 1 fi; run Session(d); n++
		:: else -> break
		od
	}
	over == STARTS + SESSIONS && copied;
	/* all are dead; a last start of each directory, which may die too, and one that does not */
	run Last(0); over == STARTS + SESSIONS + 1;
	run Last(1); over == STARTS + SESSIONS + 2;
	check();
	x = 1;
	do
	:: x < LIVES -> assert(users[x] == 0 && m[AT(0, x)] == 0 && m[AT(1, x)] == 0); x++
	:: else -> break
	od
}
