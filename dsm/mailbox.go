package dsm

import (
	"time"

	"github.com/godsm/godsm/internal/waits"
	"github.com/godsm/godsm/shm/shmsync"
)

// openMailbox makes, in Open, the session's mailbox and its list of waits. It first takes back what the row's last user
// wanted to hear of.
func (s *Session) openMailbox() {
	_ = s.member.Self.Want(false) // what the row's last user wanted
	s.mailbox = s.member.Self.NewMailbox(s.Self())
	s.waits = waits.New(s.followPeer, func() { _ = s.member.Self.Want(true) })
	s.hearing.reclaims, s.hearing.looked = s.member.Books.Table.Reclaims(), time.Now()
}

// ask has another session look at its locks. If this session has left it does nothing.
func (s *Session) ask(p shmsync.Peer) { s.withMappedBooks(func() { s.member.Self.Ask(p) }) }

// onAsk has f called when another session asks this one to look at its locks, until stop is called. The calls come as
// those of OnDeath.
func (s *Session) onAsk(f func()) (stop func()) {
	if f == nil {
		return func() {}
	}
	x := &hearer{f: containedOnDeath(func(shmsync.Peer) { f() })}
	s.hearing.mu.Lock()
	defer s.hearing.mu.Unlock()
	s.hearing.onAsk = append(s.hearing.onAsk, x)
	return func() { s.hearing.dropHearer(x) }
}

// withMappedBooks runs f, which may touch the books, unless the session has given them up; Close waits for it. Unlike
// begin it is open to calls of a session that is closing.
func (s *Session) withMappedBooks(f func()) {
	s.mu.Lock()
	if s.state == sessionLeft || s.member == nil {
		s.mu.Unlock()
		return
	}
	s.calls++
	s.mu.Unlock()
	defer s.endCall()
	f()
}
