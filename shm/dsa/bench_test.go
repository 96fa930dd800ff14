//go:build linux

package dsa_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"golang.org/x/sys/unix"
)

// The figures to watch are cpu-ns: what a call takes of this thread's processor time, which other programs on the
// machine disturb less than the clock's. BenchmarkMutex is what a pair of atomic operations takes at the same time.
//
//	go test ./shm/dsa -run '^$' -bench . -count 5

// measure reports the processor time of b's loop, by call.
func measure(b *testing.B, calls int, f func()) {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpu := func() float64 {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
			b.Fatal(err)
		}
		return float64(t.Nano())
	}
	begin := cpu()
	for b.Loop() {
		f()
	}
	b.ReportMetric((cpu()-begin)/float64(b.N)/float64(calls), "cpu-ns/object")
}

func BenchmarkMutex(b *testing.B) {
	var mu sync.Mutex
	n := 0
	measure(b, 1, func() {
		mu.Lock()
		n++
		mu.Unlock()
	})
}

func BenchmarkPair(b *testing.B) {
	for _, n := range []int{16, 64, 256, 1024, 8192} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			a := create(b, &dsa.Heap{}, 1, dsa.Options{})
			measure(b, 1, func() {
				p, err := a.Alloc(n)
				if err != nil {
					b.Fatal(err)
				}
				if err := a.Free(p); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{1024, 8192} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			a := create(b, &dsa.Heap{}, 1, dsa.Options{})
			var p [1000]dsa.Pointer
			measure(b, len(p), func() {
				for i := range p {
					p[i], _ = a.Alloc(n)
				}
				for i := range p {
					if err := a.Free(p[i]); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func BenchmarkMixed(b *testing.B) {
	a := create(b, &dsa.Heap{}, 1, dsa.Options{})
	var p [10000]dsa.Pointer
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range p {
		p[i], _ = a.Alloc(16 + rnd.IntN(8176))
	}
	x := uint64(88172645463325252)
	measure(b, 1, func() {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		k := x % uint64(len(p))
		if err := a.Free(p[k]); err != nil {
			b.Fatal(err)
		}
		p[k], _ = a.Alloc(16 + int(x>>32&0x1fff)%8176)
	})
}

func BenchmarkBytes(b *testing.B) {
	a := create(b, &dsa.Heap{}, 1, dsa.Options{})
	p, _ := a.Alloc(100)
	measure(b, 1, func() {
		if _, err := a.Bytes(p); err != nil {
			b.Fatal(err)
		}
	})
}
