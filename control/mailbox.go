package control

import (
	"context"
	"time"

	"github.com/godsm/godsm/shm/shmsync"
)

// NewMailbox returns the member's mailbox, for the session whose Self is given. It is called once in a member's life.
func (m *Member) NewMailbox(self shmsync.Self) *shmsync.Mailbox {
	return shmsync.NewMailbox(m.t.mailboxes, m.t.view, self)
}

// Want sets whether the member wants to hear of deaths at once. It hears of them in any case when it listens next.
func (m *Member) Want(deaths bool) error {
	return contained(func() error { m.ownMailboxWord().Want(deaths); return nil })
}

// Listen sleeps until this member is told something, for at most d, until ctx is over or Nudge is called, and returns
// what it was told. It may return early with nothing. One goroutine of the session listens.
func (m *Member) Listen(ctx context.Context, d time.Duration) (n shmsync.News, err error) {
	err = contained(func() error { n = m.ownMailboxWord().Listen(ctx, d); return nil })
	return n, err
}

// Nudge makes this member's Listen return early. It does not block.
func (m *Member) Nudge() { _ = contained(func() error { m.ownMailboxWord().Nudge(); return nil }) }

// ownMailboxWord returns the row's mailbox, in shared memory.
func (m *Member) ownMailboxWord() *shmsync.MailboxWord { return &m.t.mailboxes[m.row] }

// Ask has another member look whether it holds the locks whose words name it. It does not block, and waits for no
// answer. A peer in a row that does not exist, as a garbled word may name one, is asked nothing, nor is the supervisor,
// which does not listen to its mailbox.
func (m *Member) Ask(p shmsync.Peer) {
	if p.Row > SupervisorRow && p.Row < len(m.t.mailboxes) {
		_ = contained(func() error { m.t.mailboxes[p.Row].Tell(shmsync.NewsAsk); return nil })
	}
}

// WaitNews sleeps until a process has joined or wished for a pin since the count was seen, for at most d, until ctx is
// over or a process calls Nudge. It returns the count now. Seen is what an earlier call returned, so no news between
// two calls is lost.
func (t *Table) WaitNews(ctx context.Context, seen uint32, d time.Duration) (now uint32, err error) {
	err = contained(func() error { now = t.header.news.Await(ctx, seen, d); return nil })
	return now, err
}

// Nudge makes the WaitNews of any process return early, so that the caller looks around and waits again.
func (t *Table) Nudge() {
	_ = contained(func() error { t.header.news.WakeAll(); return nil })
}

// tellMailboxes has the watchers of sessions look at something: all, or of deaths those that want to hear of them. It
// takes no lock and does not wait, but costs a system call for each watcher that sleeps, so it comes after a section.
// A fault ends it.
func (t *Table) tellMailboxes(n shmsync.News) {
	_ = contained(func() error {
		for row := SupervisorRow + 1; row < len(t.processes); row++ {
			if m := &t.mailboxes[row]; isUsedWord(t.processes[row].word.Load()) && (n != shmsync.NewsDeath || m.Wanted()) {
				m.Tell(n)
			}
		}
		return nil
	})
}
