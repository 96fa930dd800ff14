//go:build linux

package dshash_test

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"golang.org/x/sys/unix"
)

func filled[K comparable, V any](b testing.TB, n int, set func(k *K, n uint64)) (*dsa.Area, *dshash.Table[K, V]) {
	a := heap(b, dsa.Options{Initial: 64 << 20})
	tab, err := dshash.Create[K, V](a, dshash.Options{})
	must(b, err)
	var k K
	var v V
	for i := range n {
		set(&k, uint64(i))
		must(b, tab.Set(ctx, k, v))
	}
	return a, tab
}

func number(k *uint64, n uint64) { *k = n }

func pair(k *[2]uint64, n uint64) { *k = [2]uint64{n, ^n} }

var sizes = []int{1000, 100_000}

func each(b *testing.B, f func(b *testing.B, n int)) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) { f(b, n) })
	}
}

// dice gives numbers in any order.
type dice uint64

func (d *dice) below(n int) uint64 {
	*d ^= *d << 13
	*d ^= *d >> 7
	*d ^= *d << 17
	return uint64(*d>>32) * uint64(n) >> 32
}

// calls is how often f makes its call each time.
const calls = 100

// measure runs f again and again. The figures to watch are cpu-ns: what a call takes of this thread's processor
// time, which other programs on the machine disturb less than the clock's: of many short runs (-benchtime 15ms
// -count 11) the middle one.
//
//	go test ./shm/dshash -run '^$' -bench . -count 5
func measure(b *testing.B, f func() error) {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin := cpu(b)
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpu(b)-begin)/float64(b.N)/calls, "cpu-ns/call")
}

func cpu(b *testing.B) float64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return float64(t.Nano())
}

func there(found bool, err error) error {
	if !found && err == nil {
		return errors.New("an entry is missing")
	}
	return err
}

func BenchmarkGet(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[uint64, uint64](b, n, number)
		d := dice(1)
		measure(b, func() error {
			for range calls {
				if _, found, err := tab.Get(ctx, d.below(n)); !found || err != nil {
					return there(found, err)
				}
			}
			return nil
		})
	})
}

func BenchmarkGet200(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[[2]uint64, [200]byte](b, n, pair)
		d := dice(1)
		measure(b, func() error {
			for range calls {
				k := d.below(n)
				if _, found, err := tab.Get(ctx, [2]uint64{k, ^k}); !found || err != nil {
					return there(found, err)
				}
			}
			return nil
		})
	})
}

func BenchmarkFind(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[uint64, uint64](b, n, number)
		d := dice(1)
		measure(b, func() error {
			for range calls {
				e, found, err := tab.Find(ctx, d.below(n))
				if !found || err != nil {
					return there(found, err)
				}
				e.Release()
			}
			return nil
		})
	})
}

// BenchmarkInsertDelete is of both together.
func BenchmarkInsertDelete(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[uint64, uint64](b, n, number)
		d := dice(1)
		measure(b, func() error {
			for range calls {
				k := d.below(n) + 1<<41
				if err := tab.Set(ctx, k, 1); err != nil {
					return err
				}
				if found, err := tab.Delete(ctx, k); !found || err != nil {
					return there(found, err)
				}
			}
			return nil
		})
	})
}

func BenchmarkUpdate(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[uint64, uint64](b, n, number)
		d := dice(1)
		measure(b, func() error {
			for range calls {
				e, _, err := tab.FindExclusive(ctx, d.below(n))
				if err != nil {
					return err
				}
				v, err := e.Update()
				if err != nil {
					return err
				}
				*v++
				e.Release()
			}
			return nil
		})
	})
}

// BenchmarkFill is of one entry of 100,000.
func BenchmarkFill(b *testing.B) {
	_, tab := filled[uint64, uint64](b, 0, number)
	k := uint64(0)
	measure(b, func() error {
		for range calls {
			if k++; k == 100_000 {
				must(b, tab.Destroy(ctx))
				_, tab = filled[uint64, uint64](b, 0, number)
				k = 0
			}
			if err := tab.Set(ctx, k, k); err != nil {
				return err
			}
		}
		return nil
	})
}

func init() { proctest.Register("looker", looker) }

// looker looks entries up until its input ends: DIR AREA TABLE BYTES ENTRIES HOW.
func looker(c *proctest.Child) error {
	w, s, err := found(c.Args)
	if err != nil {
		return err
	}
	defer s.Close()
	n, err := strconv.Atoi(c.Args[4])
	if err != nil {
		return err
	}
	over := make(chan bool)
	go func() { c.Hear(); close(over) }()
	c.Say("ready")
	for d := dice(2); ; {
		select {
		case <-over:
			return nil
		default:
		}
		for range 10_000 {
			if err := w.lookUp(c.Args[5], d.below(n)); err != nil {
				return err
			}
		}
	}
}

func (w world) lookUp(how string, k uint64) error {
	if how == "get" {
		_, found, err := w.tab.Get(ctx, k)
		if !found {
			return fmt.Errorf("%d is not there: %w", k, err)
		}
		return err
	}
	e, found, err := w.tab.Find(ctx, k)
	if !found {
		return fmt.Errorf("%d is not there: %w", k, err)
	}
	e.Release()
	return err
}

// BenchmarkTwoProcesses looks up entries while another process does.
func BenchmarkTwoProcesses(b *testing.B) {
	for _, how := range []string{"get", "find"} {
		each(b, func(b *testing.B, n int) {
			b.Run(how, func(b *testing.B) {
				w, args := makeWorld(b, "mmap", dsa.Options{}, 0)
				for k := range uint64(n) {
					must(b, w.tab.Set(ctx, k, seal(k)))
				}
				p := proctest.Start(b, "looker", append(args, strconv.Itoa(n), how)...)
				p.Expect("ready")
				d := dice(1)
				measure(b, func() error {
					for range calls {
						if err := w.lookUp(how, d.below(n)); err != nil {
							return err
						}
					}
					return nil
				})
				must(b, p.Close())
				w.end(b)
			})
		})
	}
}
