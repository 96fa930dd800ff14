package endtest

import "github.com/godsm/godsm/shm/shmsync"

// bit hands f a bit of the session's mailbox.
func bit(w *world, f func(m *shmsync.Mailbox, b shmsync.Bit) error) error {
	m := w.s.Self().Mailbox
	b := m.Take()
	defer b.Release()
	return f(m, b)
}

var usesOfMail = map[string]use{
	"shmsync.Mailbox.Take": func(w *world, i int) error {
		return bit(w, func(*shmsync.Mailbox, shmsync.Bit) error { return nil })
	},
	"shmsync.Mailbox.Ring": func(w *world, i int) error {
		return bit(w, func(m *shmsync.Mailbox, b shmsync.Bit) error {
			m.Ring(w.s.Self().Peer, b.Number())
			return nil
		})
	},
	"shmsync.Mailbox.Nudge": func(w *world, i int) error { w.s.Self().Mailbox.Nudge(); return nil },
	"shmsync.Bit.Number": func(w *world, i int) error {
		return bit(w, func(_ *shmsync.Mailbox, b shmsync.Bit) error {
			if b.Number() >= shmsync.MailboxBits {
				return wrong("bit %d", b.Number())
			}
			return nil
		})
	},
	"shmsync.Bit.Ready": func(w *world, i int) error {
		return bit(w, func(m *shmsync.Mailbox, b shmsync.Bit) error { _ = b.Ready(); return nil })
	},
	"shmsync.Bit.Wait": func(w *world, i int) error {
		return bit(w, func(m *shmsync.Mailbox, b shmsync.Bit) error {
			m.Ring(w.s.Self().Peer, b.Number())
			return b.Wait(ctx)
		})
	},
	"shmsync.Bit.Release": func(w *world, i int) error {
		return bit(w, func(_ *shmsync.Mailbox, b shmsync.Bit) error { b.Release(); return nil })
	},
	"dsm.Session.OnDeath": func(w *world, i int) error { w.s.OnDeath(func(shmsync.Peer) {})(); return nil },
}
