//go:build linux

package mq_test

import "testing"

// BenchmarkLocal is a message sent and received by one goroutine: what the code costs, without any waiting.
func BenchmarkLocal(b *testing.B) {
	for _, size := range []int{0, 8, 64, 1 << 10, 8 << 10, 64 << 10} {
		b.Run(name(size), func(b *testing.B) {
			s := newStage(b, 1, 1<<20)
			out, in := s.sender(0), s.receiver(0)
			msg := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := out.Send(ctx, msg); err != nil {
					b.Fatal(err)
				}
				_ = out.Flush()
				if _, err := in.Receive(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCopy is the same number of bytes copied into as large a ring.
func BenchmarkCopy(b *testing.B) {
	for _, size := range []int{1 << 10, 8 << 10, 64 << 10} {
		b.Run(name(size), func(b *testing.B) {
			s := newStage(b, 1, 1<<20)
			_, ring := copyRingOf(s)
			msg := make([]byte, size)
			b.SetBytes(int64(size))
			at := 0
			for b.Loop() {
				if at += copy(ring[at:], msg); at >= len(ring) {
					at = 0
				}
			}
		})
	}
}
