//go:build !race

package cache_test

const slow = 1
