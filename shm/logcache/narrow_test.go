package logcache_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/logcache"
)

// TestNumbersBeyondAnInt stores numbers into each field of 32 bits that an int of a 32-bit processor takes for negative:
// each call has an answer or an error of the cache's, and none takes the number for an index; also if the number is
// there again after the repair of what it has done before.
func TestNumbersBeyondAnInt(t *testing.T) {
	for at := range logcache.Numbers(heap(t, 1<<20, logcache.Options{})) {
		for _, n := range []uint32{1 << 31, 1<<31 + 8, ^uint32(0) &^ 7, ^uint32(0)} {
			memory := slices.Clone(filled())
			c, err := logcache.Attach(shm.NewRegion(logcache.BytesOf(memory)), self(1), logcache.Options{})
			must(t, err)
			number := logcache.Numbers(c)[at]
			t.Run(fmt.Sprintf("%s %#x", number.Name, n), func(t *testing.T) {
				defer c.Close()
				note := func(err error) {
					t.Helper()
					if !known(err) {
						t.Error(err)
					}
				}
				for k, call := range []func(){
					func() { _ = c.Stats() },
					func() {
						for k := range 300 {
							note(c.Set(ctx, name(k), text(k, 2, 300), 0))
						}
					},
					func() {
						for k := range 300 {
							_, _, err := c.Get(name(k*30), nil)
							note(err)
						}
					},
					func() { note(c.Set(ctx, name(5), text(5, 3, 100_000), 0)) },
					func() { _, err := c.Delete(ctx, name(8990)); note(err) },
					func() {
						note(c.Walk(ctx, func(logcache.Item) bool { return true }))
					},
					func() { note(c.Resize(ctx, c.Least(), logcache.Room{})) },
					func() { _, err := c.Verify(ctx); note(err) },
					func() { logcache.Dirty(c); note(c.Set(ctx, name(1), text(1, 2, 300), 0)) },
				} {
					number.Set(n)
					call()
					if t.Failed() {
						t.Fatalf("in call %d", k)
					}
				}
			})
		}
	}
}
