package dsa_test

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/testing/swaptest"
	"github.com/godsm/godsm/internal/testing/tape"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
)

// FuzzHostile has three sessions use an area whose segments are mapped and unmapped by the system, while a neighbour
// stores anything into header, rows, sessions, spans and objects between the calls: each call has an answer or an error of
// a known kind, and comes to an end.
func FuzzHostile(f *testing.F) {
	tape.Seed(f, 12, 400)
	f.Fuzz(func(t *testing.T, data []byte) { hostile(t, tape.New(data)) })
}

// known reports whether err is an error that a call may have when bytes have been garbled.
func known(err error) bool {
	for _, kind := range []error{
		dsa.ErrCorrupt, dsa.ErrVersion, dsa.ErrPointer, dsa.ErrLimit, dsa.ErrFull, dsa.ErrSize, dsa.ErrOverrun, dsa.ErrClosed,
		dsa.ErrNotFound, errkind.NoSpace,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return err == nil
}

// player is a session of the game, with what it has allocated.
type player struct {
	session *swaptest.Session
	area    *dsa.Area
	ps      []dsa.Pointer
}

func hostile(t *testing.T, tp *tape.Tape) {
	slow := time.AfterFunc(time.Minute, func() { panic("a call does not come to an end") })
	defer slow.Stop()
	m := swaptest.New(t)
	m.Largest = 4 << 20
	rows := 0
	join := func(handle uint64) (p *player, err error) {
		rows++
		p = &player{session: m.Session(rows)}
		p.session.Unmap = true
		o := dsa.Options{Initial: 1, MaxSegment: 300 << 10, Sessions: 16, Keep: -1, Checked: tp.Below(4) == 0}
		if handle == 0 {
			p.area, err = dsa.Create(ctx, p.session, p.session.Self(), o)
		} else {
			p.area, err = dsa.Attach(ctx, p.session, p.session.Self(), handle)
		}
		if err == nil && rows%3 > 0 {
			dsa.OwnSpans(p.area)
		}
		return p, err
	}
	first, err := join(0)
	if err != nil {
		t.Fatal(err)
	}
	handle := first.area.Handle()
	players := []*player{first}
	for range 2 {
		p, err := join(handle)
		if err != nil {
			t.Fatal(err)
		}
		players = append(players, p)
	}
	for i := range 60 { // something to garble
		p := players[i%3]
		q, err := p.area.Alloc([]int{16, 700, 3000, 9000, 70_000}[i%5])
		if err != nil {
			t.Fatal(err)
		}
		p.ps = append(p.ps, q)
	}
	maps := map[uint64][]byte{}
	for n := 0; tp.More() && n < 200; n++ {
		who := tp.Below(3)
		p := players[who]
		switch op := tp.Below(24); op {
		case 0, 1, 2, 3, 4:
			q, err := p.area.Alloc(1 + []int{16, 700, 3000, 9000, 70_000, 300_000}[tp.Below(6)] + tp.Below(99))
			if err == nil {
				p.ps = append(p.ps, q)
			}
			note(t, "Alloc", err)
		case 5, 6, 7, 8:
			from := players[tp.Below(3)]
			if len(from.ps) > 0 {
				i := tp.Below(256) % len(from.ps)
				note(t, "Free", p.area.Free(from.ps[i]))
				if tp.Below(8) > 0 {
					from.ps = append(from.ps[:i], from.ps[i+1:]...)
				}
			}
		case 9, 10:
			from := players[tp.Below(3)]
			if len(from.ps) > 0 {
				q := from.ps[tp.Below(256)%len(from.ps)]
				if tp.Below(3) == 0 {
					q ^= 1 << tp.Below(64)
				}
				_, err := p.area.Bytes(q)
				note(t, "Bytes", err)
				_ = p.area.Peek(q)
			}
		case 11:
			note(t, "Trim", p.area.Trim(ctx))
		case 12:
			_, err := p.area.Verify(ctx)
			note(t, "Verify", err)
		case 13:
			note(t, "Dump", p.area.Dump(ctx, io.Discard))
		case 14:
			_, err := p.area.Recover(ctx)
			note(t, "Recover", err)
		case 15:
			note(t, "Current", p.area.Current())
		case 16: // dies, or leaves
			if tp.Below(2) == 0 {
				p.session.End()
				p.session.Swap()
			} else {
				note(t, "Close", p.session.Close())
			}
			next, err := join(handle)
			if err != nil {
				note(t, "Attach", err)
				return
			}
			next.ps = p.ps
			players[who] = next
		default:
			stray(t, m, maps, tp)
		}
	}
	for _, p := range players {
		note(t, "Close", p.session.Close())
	}
}

// note looks at the error of a call.
func note(t *testing.T, call string, err error) {
	t.Helper()
	if !known(err) {
		t.Errorf("%s: %v", call, err)
	}
}

// stray stores something somewhere in a segment, but in the locks, which are tried elsewhere.
func stray(t *testing.T, m *swaptest.Memory, maps map[uint64][]byte, tp *tape.Tape) {
	handles := m.Handles()
	if len(handles) == 0 {
		return
	}
	i := 0
	if tp.Below(3) == 0 {
		i = tp.Below(256) % len(handles)
	}
	h := handles[i]
	if maps[h] == nil {
		b, err := m.Map(t, h)
		if err != nil {
			t.Fatal(err)
		}
		maps[h] = b
	}
	words, err := shm.SliceOf[atomic.Uint64](shm.NewRegion(maps[h]), 0, len(maps[h])/8)
	if err != nil {
		t.Fatal(err)
	}
	if i == 0 && tp.Below(3) == 0 { // a row's state, or life, and that something went back
		row := &words[(dsa.RowsAt+tp.Below(24)*32)/8]
		row.Store(row.Load() ^ []uint64{1, 2, 3, 256, 512}[tp.Below(5)])
		words[64/8].Add(1)
		return
	}
	var at int
	switch tp.Below(6) {
	case 0:
		at = tp.Below(128) / 8
	case 1: // lists of classes, and rows
		at = 640/8 + tp.Below(96*8+24*32)/8
	case 2: // a span's first words
		at = (dsa.SpansOf(i, len(words)*8, 16)+tp.Below(30)*dsa.SpanSize)/8 + tp.Below(20)
	case 3: // the last ones
		at = (dsa.SpansOf(i, len(words)*8, 16)+tp.Below(30)*dsa.SpanSize)/8 + 130 + tp.Below(6)
	default:
		at = int(tp.Word() % uint64(len(words)))
	}
	if at %= len(words); i == 0 && at >= 128/8 && at < 640/8 {
		return
	}
	w := &words[at]
	switch tp.Below(4) {
	case 0:
		w.Store(tp.Word())
	case 1:
		w.Store(uint64(tp.Below(256)))
	case 2:
		w.Store(w.Load() ^ 1<<tp.Below(64))
	case 3:
		w.Store(words[int(tp.Word()%uint64(len(words)))].Load())
	}
}
