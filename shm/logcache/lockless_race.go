//go:build race

package logcache

// lockless is false: the race detector would not know what makes lookups without the lock right.
const lockless = false
