//go:build linux

package logcache_test

import (
	"context"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/godsm/godsm/shm/logcache"
	"golang.org/x/sys/unix"
)

const benchEntries = 200_000

func benchKey(key []byte, k int) []byte {
	binary.LittleEndian.PutUint64(key, uint64(k))
	binary.LittleEndian.PutUint64(key[8:], ^uint64(k))
	return key
}

func cpu(b *testing.B) float64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return float64(t.Nano())
}

// measure has several sides take turns, and reports the processor time of a call of each, and its ratio to the first
// one.
func measure(b *testing.B, names []string, sides []func(n int)) {
	const calls = 2000
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	spent := make([]float64, len(sides))
	for b.Loop() {
		for i, f := range sides {
			begin := cpu(b)
			f(calls)
			spent[i] += cpu(b) - begin
		}
	}
	for i, name := range names {
		b.ReportMetric(spent[i]/float64(b.N)/calls, name+"-cpu-ns")
		if i > 0 {
			b.ReportMetric(spent[i]/spent[0], name+"/"+names[0])
		}
	}
}

// BenchmarkBesideDshash compares Gets that hit, and Sets, of 16 and 200 bytes with those of dshash.Bytes. Sets of the
// cache evict; those of the table replace.
//
//	go test ./shm/logcache -run '^$' -bench BesideDshash -count 5
func BenchmarkBesideDshash(b *testing.B) {
	ctx := context.Background()
	a, err := dsa.Create(ctx, &dsa.Heap{}, self(1), dsa.Options{Initial: 128 << 20})
	must(b, err)
	defer a.Detach()
	tab, err := dshash.CreateBytes(a, dshash.Options{})
	must(b, err)
	c := heap(b, 80<<20, logcache.Options{})
	key, value := make([]byte, 16), make([]byte, 200)
	for k := range benchEntries {
		must(b, tab.Set(ctx, benchKey(key, k), value))
		must(b, c.Set(ctx, benchKey(key, k), value, 0))
	}
	buf := make([]byte, 0, 256)
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		d1, d2 := dice(1), dice(1)
		measure(b, []string{"dshash", "logcache"}, []func(int){
			func(n int) {
				for range n {
					if _, found, err := tab.Get(ctx, benchKey(key, d1.below(benchEntries)), buf); !found || err != nil {
						b.Fatal(found, err)
					}
				}
			},
			func(n int) {
				for range n {
					if _, found, err := c.Get(benchKey(key, d2.below(benchEntries)), buf); !found || err != nil {
						b.Fatal(found, err)
					}
				}
			},
		})
	})
	b.Run("Set", func(b *testing.B) {
		b.ReportAllocs()
		d, k := dice(1), benchEntries
		for ; c.Stats().Evicted < 10_000; k++ {
			must(b, c.Set(ctx, benchKey(key, k), value, 0))
		}
		measure(b, []string{"dshash", "logcache"}, []func(int){
			func(n int) {
				for range n {
					must(b, tab.Set(ctx, benchKey(key, d.below(benchEntries)), value))
				}
			},
			func(n int) {
				for range n {
					k++
					must(b, c.Set(ctx, benchKey(key, k), value, 0))
				}
			},
		})
	})
}
