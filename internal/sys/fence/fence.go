// Package fence orders what other processes' threads load and store, at their cost of nothing: the one that asks pays for
// all. A thread that stores a word and then loads another may have its load done first, as others see it; after All, each
// thread that has not had its store seen by then does its load after All began.
//
// It needs a system that can interrupt running threads of other processes (Linux 4.16 has membarrier). Where that is
// unavailable the threads have to order their stores themselves, by an atomic exchange.
package fence

import "sync"

var (
	joined = sync.OnceValue(join)
	able   = sync.OnceValue(all)
)

// Join makes All reach this process from now on, in every process of the system. It reports whether it does.
func Join() bool { return joined() }

// Able reports whether this process can call All.
func Able() bool { return able() }

// All returns when each running thread of each process that has joined has had its stores and loads done in the order of
// its program, at some moment since All was called. It reports whether that is so.
func All() bool { return all() }
