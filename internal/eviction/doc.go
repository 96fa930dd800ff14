// Package eviction decides what a cache keeps. It is pure: it knows neither bytes nor processes, only hashes, sizes and
// counts of hits, so that a simulator replays accesses through the same code that a cache in shared memory runs.
//
// The entries are in two logs, each first in, first out: the window, which new entries enter, and the main log. Each
// entry has a counter of hits from 0 to 3, which a hit raises by a plain store. Step looks at the oldest entry of one
// log and keeps it, moves it or drops it. So there is no list to relink on a hit, and nothing to repair after a death.
//
// A Setting is the window's share and one of two rules:
//
//	by hits       an entry of the window that was hit moves to the main log; one that was not is dropped and its hash
//	              remembered in the Ghost, which sends the entry to the main log if it comes again
//	by frequency  an entry of the window that was hit stays in the window; one that was not contests the oldest entry
//	              of the main log that was not hit: the Sketch has the frequencies, and the less frequent one is dropped
//
// Neither rule is the better one for all programs, and neither is a share: a Tuner runs a Model, a small cache of
// hashes alone, for each of the Settings on a sample of the accesses, and names the one that hits most.
package eviction
