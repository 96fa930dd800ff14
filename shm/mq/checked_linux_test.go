package mq_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
	"golang.org/x/sys/unix"
)

// TestCheckedEndInsideACall: in checked mode the bytes become inaccessible at the end of their view, which may come
// between any two instructions of a call. That is its error, and not the end of the process. Here they become
// inaccessible alone, so that each call comes to them.
func TestCheckedEndInsideACall(t *testing.T) {
	calls := map[string]func(s *mq.Sender, r *mq.Receiver) error{
		"Sender.Send":         func(s *mq.Sender, _ *mq.Receiver) error { return s.Send(ctx, make([]byte, 8)) },
		"Sender.SendV":        func(s *mq.Sender, _ *mq.Receiver) error { return s.SendV(ctx, make([]byte, 8)) },
		"Sender.TrySend":      func(s *mq.Sender, _ *mq.Receiver) error { return s.TrySend(make([]byte, 8)) },
		"Sender.Flush":        func(s *mq.Sender, _ *mq.Receiver) error { return s.Flush() },
		"Sender.WaitAttach":   func(s *mq.Sender, _ *mq.Receiver) error { return s.WaitAttach(ctx) },
		"Receiver.Receive":    func(_ *mq.Sender, r *mq.Receiver) error { _, err := r.Receive(ctx); return err },
		"Receiver.TryReceive": func(_ *mq.Sender, r *mq.Receiver) error { _, err := r.TryReceive(); return err },
		"Receiver.WaitAttach": func(_ *mq.Sender, r *mq.Receiver) error { return r.WaitAttach(ctx) },
		"Many.Receive": func(_ *mq.Sender, r *mq.Receiver) error {
			_, _, err := mq.NewMany(r).Receive(ctx)
			return err
		},
	}
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		b, err := unix.Mmap(-1, 0, 1<<14, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		q := must(mq.Create(shm.NewRegion(b)))
		me := liver(1)
		me.Checked = true
		s, r := must(q.Sender(me)), must(q.Receiver(me))
		for range 3 {
			if err := s.Send(ctx, []byte("hello")); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		if m, err := r.Receive(ctx); err != nil || string(m) != "hello" { // the others are known to be there
			t.Fatalf("%q, %v", m, err)
		}
		if err := unix.Mprotect(b, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
		if err := calls[name](s, r); !errors.Is(err, mq.ErrCorrupt) {
			t.Errorf("%s = %v", name, err)
		}
		if err := unix.Munmap(b); err != nil {
			t.Fatal(err)
		}
	}
}
