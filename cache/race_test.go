//go:build race

package cache_test

// slow is by how much less is done where each step takes so long.
const slow = 6
