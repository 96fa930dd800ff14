// Package shared is package batch between processes: callers of many processes hand in commands, and one of the processes,
// the leader, executes them all. A command lies in a slot of shared memory; so does its result, and how far it has come.
// When the leader dies, the next one reads the slots, asks the database what was committed, and goes on.
//
// It adds to package batch:
//
//   - A command that was accepted once is executed at most once, whichever processes die, and a caller that lives gets one
//     outcome. A command of a process that has died is executed only if a leader had taken it, or by Options.Keep.
//   - A leader that is only stopped, and wakes when another one leads, commits nothing more.
//
// What it does not have: Interact, since code can't go to another process; and Get: what the database says is kept in package
// cache, for all processes, and batch.Rules.Written drops what commands have changed. The leader calls it, and after its
// death the next one, before any caller is answered.
//
// # Leading
//
// Each process that has opened the queue with a driver may lead. The leader has the number of its term, the epoch, which is
// raised by compare-and-swap; it beats every tenth of Options.Lease, also while a statement takes long. Another process
// leads next when the leader's session has died, when the leader has resigned, or when commands wait and it has not beaten
// for a Lease. The successor first has its driver lead (batch.Fenced): from then on the database refuses what the old leader
// would commit. Then it settles all slots, and only then begins its first flush.
//
// # The moves of a slot
//
// All in one word, by compare-and-swap. The owner is the session that the slot's block belongs to.
//
//	from       to          who      when
//	free       taken       owner    a command is written into it
//	taken      ready       owner    the command is whole: from here on it is accepted
//	ready      taken       owner    withdrawn: its context has ended
//	ready      claimed     leader   with its epoch: it goes into the next flush. The bits of ready slots are but a hint
//	claimed    tentative   leader   with epoch and flush: it was executed and its result is in the slot, before COMMIT is sent
//	tentative  claimed     leader   the transaction was rolled back for sure
//	tentative  done        leader   committed; or a successor, if the database says so: by is its epoch, and flush not higher
//	claimed    done        leader   it has failed, or was a read
//	claimed    ready       leader   it resigns; or a successor: a transaction with it was never committed
//	tentative  ready       successor  the database says that it was not committed
//	done       free        owner    the result was read
//	taken, done  free      leader   the owner is dead
//	ready      free        leader   the owner is dead, and Options.Keep is not set
//
// # Deaths
//
//	who died   where                             left                      then
//	owner      before taken                      nothing                   its block is free again once all slots are
//	owner      taken, the command half written   a taken slot              the leader frees it
//	owner      ready stored, the bit not set     a ready slot              dropped, or kept and found by the look at all slots
//	owner      bit set, the leader not rung      a leader that sleeps      it looks once a second and at each death
//	owner      claimed, tentative                a command under way       it is finished, then freed
//	leader     bits taken, slots not claimed     ready slots without bits  the look at all slots
//	leader     claimed, before COMMIT is sent    claimed and tentative     the successor: ready again, since the row says no
//	leader     COMMIT sent or committed          tentative                 the successor: done or ready, as the row says
//	leader     some slots done, not rung         callers that sleep        they look once a second and at each death
//	leader     epoch raised, nothing settled     slots of older epochs     the next one raises it again and settles them
//	leader     settled half of the slots         slots of older epochs     the same; what is done is done
//	leader     resigning                         as anywhere above
//	anyone     giving a block back               a block without an owner  its slots are free: it may be taken
//
// The look at all slots is made when a process begins to lead, after each death and once a second. A command with which
// leaders have died twice is executed alone from then on, and is poison when two more have died while it was alone.
//
// A leader that was stopped just before it would store a result, for longer than a Lease, may store it into a slot that has
// gone on without it. Results have a checksum over the use of the slot: the caller then gets ErrResult, and that its command
// was executed.
package shared
