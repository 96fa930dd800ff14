//go:build linux

package area_test

import (
	"runtime"
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
	"golang.org/x/sys/unix"
)

func init() { proctest.Register("pairs", pairs) }

// pairs allocates and frees until its input ends: DIR HANDLE.
func pairs(c *proctest.Child) error {
	s, a, err := inArea(c)
	if err != nil {
		return err
	}
	defer s.Close()
	over := make(chan bool)
	go func() { c.Hear(); close(over) }()
	c.Say("ready")
	for {
		select {
		case <-over:
			return nil
		default:
		}
		for range 10_000 {
			p, err := a.Alloc(64)
			if err == nil {
				err = a.Free(p)
			}
			if err != nil {
				return err
			}
		}
	}
}

// BenchmarkPair is Alloc and Free of 64 bytes, alone and with another process that does the same; cpu-ns is of
// this thread's processor time.
func BenchmarkPair(b *testing.B) {
	for _, name := range []string{"alone", "two processes"} {
		b.Run(name, func(b *testing.B) {
			cfg := instancetest.Config(b, "posix")
			cfg.Logger = dsm.Config{}.Logger
			instancetest.Start(b, cfg)
			s := instancetest.Open(b, cfg)
			a, err := area.Create(ctx, s, s.Owner(), dsa.Options{})
			if err != nil {
				b.Fatal(err)
			}
			if name != "alone" {
				p := proctest.Start(b, "pairs", cfg.Dir, area.Handle(a).String())
				p.Expect("ready")
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			begin := cpu(b)
			for b.Loop() {
				p, err := a.Alloc(64)
				if err == nil {
					err = a.Free(p)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpu(b)-begin)/float64(b.N), "cpu-ns/object")
		})
	}
}

func cpu(b *testing.B) float64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return float64(t.Nano())
}
