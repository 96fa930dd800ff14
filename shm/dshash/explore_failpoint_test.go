//go:build failpoint && linux

package dshash_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// work is what a writer does to a table of one partition whose entries 0 to 29 others look at.
type work struct {
	name  string
	full  bool // where no memory is left
	small int  // arrays of more lines are replaced in steps
	do    func(bs *dshash.Bytes, n int) error
}

// works change entries in place, and arrays in steps or at once.
var works = []work{
	{"overwrite", true, 1, func(bs *dshash.Bytes, n int) error { return bs.Set(ctx, name(uint64(n%5)), looked(uint64(n%5), n)) }},
	{"update in place", true, 1, func(bs *dshash.Bytes, n int) error {
		e, _, err := bs.FindExclusive(ctx, name(uint64(n%5)))
		if err != nil {
			return err
		}
		defer e.Release()
		want := looked(uint64(n%5), n)
		b, err := e.Update(len(want))
		copy(b, want)
		return err
	}},
	{"grow", false, 1, grow},
	{"shrink", false, 1, shrink},
	{"grow at once", false, 1 << 20, grow},
	{"shrink at once", false, 1 << 20, shrink},
}

func grow(bs *dshash.Bytes, n int) error { return bs.Set(ctx, name(uint64(100+n)), looked(1, n)) }

func shrink(bs *dshash.Bytes, n int) error {
	_, err := bs.Delete(ctx, name(uint64(100+n)))
	return err
}

// looked is a value of an entry: of one length for each k, or a shorter one, and of one letter.
func looked(k uint64, turn int) []byte {
	return bytes.Repeat([]byte{byte('a' + turn%26)}, 1200+int(k)*100-turn%3*50)
}

// TestEveryStoreIsSeenWhole: at each point inside of a change a reader looks, without the lock, at all entries: each of
// them is there, and whole. And the other way round: at each point inside of a look a writer does all that it has to do.
func TestEveryStoreIsSeenWhole(t *testing.T) {
	if !dshash.Lockless {
		t.Skip("Get takes the lock in this build")
	}
	for _, w := range works {
		for _, within := range []string{"changes", "looks"} {
			t.Run(w.name+"/"+within, func(t *testing.T) {
				defer dshash.Pace(w.small)()
				turns := 200
				if within == "looks" {
					turns = 4000
				}
				a := heap(t, dsa.Options{Initial: 64 << 10, Sessions: 4})
				bs, err := dshash.CreateBytes(a, dshash.Options{Partitions: 1})
				must(t, err)
				for k := range uint64(30) {
					must(t, bs.Set(ctx, name(k), looked(k, 0)))
				}
				if strings.HasPrefix(w.name, "shrink") {
					for n := range turns {
						must(t, bs.Set(ctx, name(uint64(100+n)), looked(1, n)))
					}
				}
				reader, err := dshash.AttachBytes(a, bs.Handle(), dshash.Options{})
				must(t, err)
				give := func() {}
				if w.full {
					give = exhaust(t, a)
				}
				turn, points, seen := 0, map[string]bool{}, 0
				// right reports whether a value may be the entry's, at some moment between two turns.
				right := func(k uint64, v []byte, first, last int) bool {
					if !w.full || k >= 5 {
						return bytes.Equal(v, looked(k, 0))
					}
					for n := first; n <= last; n++ {
						if now := n - (n-int(k)+5000)%5; now < 0 && bytes.Equal(v, looked(k, 0)) ||
							now >= 0 && bytes.Equal(v, looked(k, now)) {
							return true
						}
					}
					return false
				}
				look := func(k uint64, first int, last func() int) error {
					v, found, ok := dshash.Glimpse(reader, name(k))
					if !ok {
						return nil // it would take the lock
					}
					if seen++; !found || !right(k, v, first, last()) {
						return fmt.Errorf("turn %d: entry %d: %v, %d bytes, %.5q", turn, k, found, len(v), v)
					}
					return nil
				}
				if within == "changes" {
					inside := false
					stop := failpoint.Watch(func(p string) {
						if inside || !strings.HasPrefix(p, "dshash/") || t.Failed() {
							return
						}
						inside, points[p] = true, true
						for k := range uint64(30) {
							if err := look(k, turn-1, func() int { return turn }); err != nil {
								t.Errorf("at %s: %v", p, err)
								break
							}
						}
						inside = false
					})
					for ; turn < turns; turn++ {
						must(t, w.do(bs, turn))
					}
					stop()
				} else {
					for nth := 0; turn < turns; nth++ {
						k, n := uint64(nth%30), 0
						inside, first := false, turn-1
						stop := failpoint.Watch(func(p string) {
							if inside || !strings.HasPrefix(p, "dshash/look/") {
								return
							}
							if n++; n != 1+nth/30%3 {
								return
							}
							inside, points[p] = true, true
							for range 1 + nth*7%60 {
								if turn < turns && !t.Failed() {
									if err := w.do(bs, turn); err != nil {
										t.Error(err)
									}
									turn++
								}
							}
							inside = false
						})
						err := look(k, first, func() int { return turn })
						stop()
						if err != nil {
							t.Fatalf("after point %d: %v", n, err)
						}
						if n == 0 || nth/30%3 >= n {
							must(t, w.do(bs, turn))
							turn++
						}
						reader.Get(ctx, name(k), nil) // it learns where the arrays are
					}
				}
				give()
				clean(t, a, 0, bs)
				t.Logf("%d looks were answered, at %d points", seen, len(points))
				if len(points) < 2 || seen == 0 && !w.full {
					t.Errorf("%d looks were answered, at %v", seen, points)
				}
				must(t, bs.Destroy(ctx))
			})
		}
	}
}

// TestSwapInsideChangeInPlace: at each point inside of an update in place the session ends and its bytes are swapped. The
// entry is as before or as after, for the process that comes first to its partition, or to another one and needs the reserve.
func TestSwapInsideChangeInPlace(t *testing.T) {
	for _, first := range []string{"same partition", "other partition"} {
		t.Run(first, func(t *testing.T) {
			for nth, came := 0, true; came; nth++ {
				came = false
				s := newStage(t, 8)
				was, will, key := bytes.Repeat([]byte("a"), 3000), bytes.Repeat([]byte("b"), 2990), []byte("key")
				must(t, s.first.bs.Set(ctx, key, was))
				other := uint64(1000)
				for dshash.PartOf(s.first.bs, name(other)) == dshash.PartOf(s.first.bs, key) {
					other++
				}
				must(t, s.first.bs.Set(ctx, name(other), was))
				give := exhaust(t, s.first.area)
				n, point := 0, ""
				stop := failpoint.Watch(func(p string) {
					if n++; n == nth+1 {
						came, point = true, p
						s.closes.End()
						s.closes.Swap()
					}
				})
				err := s.second.bs.Set(ctx, key, will)
				stop()
				if came != (err != nil) && err != nil {
					t.Errorf("swapped at %s: %v", point, err)
				}
				if first == "other partition" {
					must(t, s.first.bs.Set(ctx, name(other), will))
				}
				v, found, gerr := s.first.bs.Get(ctx, key, nil)
				if !found || gerr != nil || !bytes.Equal(v, was) && !bytes.Equal(v, will) || err == nil && !bytes.Equal(v, will) && !came {
					t.Errorf("swapped at %s: %v, then %v, %v, %d bytes, %.3q", point, err, found, gerr, len(v), v)
				}
				must(t, s.first.bs.Set(ctx, key, will))
				give()
				if s.end(t); t.Failed() {
					t.Fatalf("swapped at %s, the %dth", point, nth)
				}
			}
		})
	}
}
