//go:build linux

package mq_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm"
	"golang.org/x/sys/unix"
)

func init() {
	proctest.Register("sink", sinkHelper)
	proctest.Register("copysink", copySinkHelper)
	proctest.Register("echo", echoHelper)
}

// sinkHelper counts what it receives on queue 0, and answers on queue 1 when it has as many as it was told.
func sinkHelper(c *proctest.Child) error {
	s, err := onStage(c)
	if err != nil {
		return err
	}
	r, back := s.receiver(0), s.sender(1)
	c.Say("ready")
	for {
		line, ok := c.Hear()
		if !ok {
			return nil
		}
		n := must(strconv.Atoi(line))
		for range n {
			if _, err := r.Receive(ctx); err != nil {
				return err
			}
		}
		if err := back.Send(ctx, []byte("received")); err != nil {
			return err
		}
		back.Flush()
	}
}

// BenchmarkOneWay sends messages; the time ends when the last has been received.
func BenchmarkOneWay(b *testing.B) {
	for _, ring := range []int{64 << 10, 1 << 20} {
		for _, size := range []int{8, 64, 1 << 10, 8 << 10, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("ring=%s/%s", name(ring), name(size)), func(b *testing.B) {
				proctest.Pinned(b, func(b *testing.B, pin func(*proctest.Process)) {
					s := newStage(b, 2, ring)
					p := s.start(b, "sink", 1)
					pin(p)
					out, in := s.sender(0), s.receiver(1)
					msg := make([]byte, size)
					b.SetBytes(int64(size))
					p.Send("%d", b.N)
					b.ResetTimer()
					for range b.N {
						if err := out.Send(ctx, msg); err != nil {
							b.Fatal(err)
						}
					}
					if err := out.Flush(); err != nil {
						b.Fatal(err)
					}
					if _, err := in.Receive(ctx); err != nil {
						b.Fatal(err)
					}
				})
			})
		}
	}
}

// copyRing is the rival: plain memcpy through a ring of the same size, without frames, sleeping or checks.
type copyRing struct {
	written, _, _, _, _, _, _, _, read, _, _, _, _, _, _, _ atomic.Uint64
}

func copyRingOf(s *stage) (*copyRing, []byte) {
	r := must(s.region.Sub(s.offset(0), s.len))
	return must(shm.At[copyRing](r, 0)), must(r.Bytes(320, s.len-320))
}

func copySinkHelper(c *proctest.Child) error {
	s, err := onStage(c)
	if err != nil {
		return err
	}
	h, ring := copyRingOf(s)
	c.Say("ready")
	c.Hear()
	buf := make([]byte, 1<<20)
	at, read, piece := 0, uint64(0), len(ring)/4
	for n := 0; ; {
		for spins := 0; h.written.Load() == read; spins++ {
			if spins > 1000 {
				unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
			}
		}
		k := min(int(h.written.Load()-read), piece, len(ring)-at, len(buf)-n)
		n = (n + copy(buf[n:n+k], ring[at:])) % len(buf)
		at = (at + k) % len(ring)
		read += uint64(k)
		h.read.Store(read)
	}
}

// BenchmarkMemcpyRing is what BenchmarkOneWay is to be compared with at 64 KiB and above.
func BenchmarkMemcpyRing(b *testing.B) {
	for _, size := range []int{64 << 10, 1 << 20} {
		for _, msg := range []int{64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("ring=%s/%s", name(size), name(msg)), func(b *testing.B) {
				proctest.Pinned(b, func(b *testing.B, pin func(*proctest.Process)) {
					s := newStage(b, 1, size)
					h, ring := copyRingOf(s)
					h.written.Store(0)
					h.read.Store(0)
					p := s.start(b, "copysink", 1)
					pin(p)
					p.Send("go")
					buf := make([]byte, msg)
					b.SetBytes(int64(msg))
					b.ResetTimer()
					at, written, piece := 0, uint64(0), len(ring)/4
					for range b.N {
						for n := 0; n < len(buf); {
							for spins := 0; written-h.read.Load() == uint64(len(ring)); spins++ {
								if spins > 1000 {
									unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
								}
							}
							k := min(len(ring)-int(written-h.read.Load()), piece, len(ring)-at, len(buf)-n)
							copy(ring[at:at+k], buf[n:])
							n += k
							at = (at + k) % len(ring)
							written += uint64(k)
							h.written.Store(written)
						}
					}
					for h.read.Load() != written {
						unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
					}
				})
			})
		}
	}
}

// echoHelper sends back what it receives.
func echoHelper(c *proctest.Child) error {
	s, err := onStage(c)
	if err != nil {
		return err
	}
	r, back := s.receiver(0), s.sender(1)
	c.Say("ready")
	for {
		m, err := r.Receive(ctx)
		if err != nil {
			return err
		}
		if err := back.Send(ctx, m); err != nil {
			return err
		}
		if err := back.Flush(); err != nil {
			return err
		}
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	for _, size := range []int{8, 1 << 10, 64 << 10} {
		b.Run(name(size), func(b *testing.B) {
			proctest.Pinned(b, func(b *testing.B, pin func(*proctest.Process)) {
				s := newStage(b, 2, 1<<20)
				pin(s.start(b, "echo", 1))
				out, in := s.sender(0), s.receiver(1)
				msg := make([]byte, size)
				b.ReportAllocs()
				for b.Loop() {
					if err := out.Send(ctx, msg); err != nil {
						b.Fatal(err)
					}
					if err := out.Flush(); err != nil {
						b.Fatal(err)
					}
					if _, err := in.Receive(ctx); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
