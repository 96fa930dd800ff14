// Package crashtest proves, by killing processes, that nothing leaks and nobody else is hurt whatever the instruction that was a
// process's last. It has tests only:
//
//	go test -tags failpoint ./internal/crashtest             # each failpoint once
//	go test -tags failpoint ./internal/crashtest -full       # each in every scenario, on every backend, in every way
//	go test ./internal/crashtest -run Strace                 # from outside, by system call
//
// A scenario plays a piece of an instance's life in several processes, of which one is the victim. A first run
// tells which failpoints the victim comes to; then the scenario is played once for each, with the victim
// killed, ended, or held up there. In the end a check compares the books with the system and with who lives.
package crashtest
