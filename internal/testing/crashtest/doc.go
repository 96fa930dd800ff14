// Package crashtest proves, by killing processes, that nothing leaks and no other process is hurt
// whatever the instruction that was a process's last. It has tests only:
//
//	go test -tags failpoint ./internal/testing/crashtest             # each failpoint once
//	go test -tags failpoint ./internal/testing/crashtest -full       # each in every scenario, on every backend, in every way
//	go test ./internal/testing/crashtest -run Strace                 # from outside, by system call: a sample
//	go test ./internal/testing/crashtest -run Strace -full -timeout 2h   # every call of every kind
//
// A scenario plays a piece of an instance's life in several processes, of which one is the victim. A first run
// tells which failpoints the victim comes to; then the scenario is played once for each, with the victim
// killed, ended, or held up there. In the end a check compares the books with the system and with the processes that live.
//
// What fails says in the last lines how to run it again alone. A -run that names cases plays those, without a first
// run, also where the victim does not come to the point:
//
//	go test -tags failpoint ./internal/testing/crashtest -run 'TestMatrix/control/created/word/posix/^session$/kill'
//
// Strace needs no help from the code. It is attached when the victim is about to act; the victim
// then dies at its first, second, ... openat, mmap, unlinkat and so on, before the call is made,
// until it runs through; or the call fails with an error, it alone or all from there on (three of
// them if it is EINTR, which must not be seen outside). A refused victim may say so, by the
// error's name, or make up for it; either way nothing may be left and no other process hurt.
//
// Strace counts by thread. So helpers keep their commands on one thread, and run with few calls of the Go runtime's;
// what a supervisor does at its stop, on a thread of its own, is traced from there on; and the log of each run is
// counted: if other threads made such calls before the one that was meant, the run is repeated, and what stays inexact
// is told in the end. Futex calls, which the runtime makes as it likes, are counted by thread. For munmap and futex,
// which the runtime can't live without, errors come from the failpoints filemap/munmap, sysv/shmdt and futex/wait.
package crashtest
