//go:build race

package dshash

// lockless is false: with the race detector each lookup takes the lock, so that the detector sees an order of all
// accesses.
const lockless = false
