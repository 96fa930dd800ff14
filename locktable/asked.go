package locktable

import (
	"context"
	"sync"
	"time"

	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/waitqueue"
)

// asks are the holds of this process that want to hear when they are asked to let go.
type asks struct {
	sync.Mutex
	list map[*hold]*ask
	on   bool // a goroutine listens
}

// ask is one hold's.
type ask struct {
	seq  uint32
	was  uint32 // the head's count when the hold began to listen
	head *head
	ch   chan struct{}
}

// Asked returns a channel that is closed when some process has asked the holders of the lock to let go, by Table.Ask,
// since Asked was first called for this hold, or when the hold is lost. Nothing makes the holder do so.
func (x Hold) Asked() <-chan struct{} {
	ch, listens := make(chan struct{}), false
	_ = x.withHold(func(h *hold) { ch, listens = h.t.asked(h, ch), true })
	if !listens {
		close(ch)
	}
	return ch
}

// asked returns the channel of a hold, which is ch if it has none yet.
func (t *Table) asked(h *hold, ch chan struct{}) chan struct{} {
	t.asks.Lock()
	defer t.asks.Unlock()
	if a := t.asks.list[h]; a != nil && a.seq == h.seq.Load() {
		return a.ch
	}
	if t.asks.list == nil {
		t.asks.list = map[*hold]*ask{}
	}
	t.asks.list[h] = &ask{seq: h.seq.Load(), head: h.head, was: h.head.asked.Load(), ch: ch}
	if !t.asks.on {
		t.asks.on = true
		go t.listen()
	}
	return ch
}

// listen closes the channels of those that are asked, until no hold has a channel any more.
func (t *Table) listen() {
	var b bit
	b.take(t)
	defer b.release()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer t.view.OnEnd(cancel)()
	_ = t.withOwnRecords(func() { t.seat.bell.Store(b.number() + 1) })
	for {
		t.asks.Lock()
		for h, a := range t.asks.list {
			asked := t.view.Ended()
			if !asked && h.seq.Load() == a.seq {
				asked = t.withOwnRecords(func() { asked = a.head.asked.Load() != a.was }) != nil || asked
			}
			if asked {
				close(a.ch)
			}
			if asked || h.seq.Load() != a.seq {
				delete(t.asks.list, h)
			}
		}
		if len(t.asks.list) == 0 || t.view.Ended() {
			t.asks.on = false
			t.asks.Unlock()
			return
		}
		t.asks.Unlock()
		b.sleep(ctx, time.Second)
	}
}

// Ask asks those who hold a lock to let go, and returns how many there are. They hear of it if they listen to
// Hold.Asked, and may go on.
func (t *Table) Ask(ctx context.Context, path ...string) (holders int, err error) {
	if t.view.Ended() {
		return 0, t.closed()
	}
	k, err := encode(nil, path)
	if err != nil {
		return 0, err
	}
	ident := hash(k.b, t.seed)
	defer t.answer(&err, fault.Catch())
	u, err := t.enter(ctx, partOf(ident))
	if err != nil {
		return 0, err
	}
	defer u.leave()
	h, n, err := u.lookupLocked(k.b, ident)
	if err != nil || h == nil {
		u.done = err == nil
		return 0, err
	}
	h.asked.Add(1)
	ring := func(row int) {
		holders++
		if who, s, ok := t.roster.Seat(row); ok && s.bell.Load() != 0 {
			u.rings = append(u.rings, ringOf(who, s.bell.Load()-1))
		}
	}
	if w := waitqueue.Hold(h.lock.Word.Load()); w.Mode() != 0 {
		ring(w.Row())
	}
	u.queue(h, n).EachLocked(func(ref waitqueue.Ref, s waitqueue.State) {
		if s.Kind() == waitqueue.Held {
			ring(roster.Ref(ref).Row())
		}
	})
	u.markDone()
	return holders, nil
}
