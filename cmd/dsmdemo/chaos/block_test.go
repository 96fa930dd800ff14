package chaos

import (
	"testing"

	"github.com/godsm/godsm/shm/shmsync"
)

func TestBlock(t *testing.T) {
	const place = 77
	self := shmsync.Peer{Row: 2044, Incarnation: shmsync.MutexIncarnationMask}
	dead := func(shmsync.Peer) bool { return false }
	living := func(shmsync.Peer) bool { return true }
	var b block
	is := func(want verdict, when string) {
		t.Helper()
		if got := b.judge(place); got != want {
			t.Errorf("%s: %d, want %d", when, got, want)
		}
	}
	is(right, "never written")
	b.words[60].Store(1)
	is(wrong, "never written, but not zero")
	b.words[60].Store(0)
	first, second := newStamp(self, 1), newStamp(self, 2)
	if first.writer() != self {
		t.Errorf("%v", first.writer())
	}
	if !b.claim(first, living) {
		t.Error("a block at rest can't be claimed")
	}
	b.words[7].Store(1)
	is(unfinished, "half-written")
	if b.claim(second, living) {
		t.Error("taken from a living writer")
	}
	if !b.claim(second, dead) {
		t.Error("not taken from a dead one")
	}
	b.fill(second, place)
	is(right, "finished")
	if b.judge(place+1) != wrong {
		t.Error("another segment's block is right")
	}
	for i := range b.words {
		b.words[i].Store(b.words[i].Load() ^ 1<<i)
		is(wrong, "a bit flipped")
		b.words[i].Store(b.words[i].Load() ^ 1<<i)
	}
	b.sum.Add(1)
	is(wrong, "the sum changed")
}
