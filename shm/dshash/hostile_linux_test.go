package dshash_test

import (
	"context"
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
	"github.com/godsm/godsm/shm/dshash"
)

// FuzzHostile has three sessions use two tables in an area whose segments are mapped and unmapped by the system, while a
// neighbour stores anything into tables, arrays, items and the area's own words, between the calls and while an entry
// is held: each call has an answer or an error of a known kind, and comes to an end.
func FuzzHostile(f *testing.F) {
	tape.Seed(f, 12, 400)
	f.Fuzz(func(t *testing.T, data []byte) { hostile(t, tape.New(data)) })
}

// known reports whether err is an error that a call may have when bytes have been garbled.
func known(err error) bool {
	for _, kind := range []error{
		dshash.ErrCorrupt, dshash.ErrNotFound, dshash.ErrMismatch, dshash.ErrVersion, dshash.ErrSize,
		dshash.ErrShared, dshash.ErrClosed,
		dsa.ErrPointer, dsa.ErrLimit, dsa.ErrFull, dsa.ErrOverrun, errkind.NoSpace,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return err == nil
}

func note(t *testing.T, call string, err error) {
	t.Helper()
	if !known(err) {
		t.Errorf("%s: %v", call, err)
	}
}

// game is tables in memory that a neighbour stores into.
type game struct {
	t       *testing.T
	tp      *tape.Tape
	ctx     context.Context
	memory  *swaptest.Memory
	maps    map[uint64][]byte
	rows    int
	guests  []*guest
	area    uint64
	tab, bs dsa.Pointer
	tables  map[dsa.Pointer]begin
}

type guest struct {
	world
	session *swaptest.Session
}

func hostile(t *testing.T, tp *tape.Tape) {
	slow := time.AfterFunc(time.Minute, func() { panic("a call does not come to an end") })
	defer slow.Stop()
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	g := &game{t: t, tp: tp, ctx: ctx, memory: swaptest.New(t), maps: map[uint64][]byte{}}
	g.memory.Largest = 4 << 20
	first := g.session()
	var err error
	o := dsa.Options{Initial: 1, MaxSegment: 200 << 10, Sessions: 16, Keep: -1, Checked: tp.Below(4) == 0}
	first.area, err = dsa.Create(ctx, first.session, first.session.Self(), o)
	must(t, err)
	first.tab, err = dshash.Create[uint64, sealed](first.area, dshash.Options{Partitions: 2})
	must(t, err)
	first.bs, err = dshash.CreateBytes(first.area, dshash.Options{Partitions: 2})
	must(t, err)
	g.area, g.tab, g.bs = first.area.Handle(), first.tab.Handle(), first.bs.Handle()
	g.tables = map[dsa.Pointer]begin{}
	for _, p := range []dsa.Pointer{g.tab, g.bs} {
		h, at := g.place(p)
		g.tables[p] = begin{h, at * 8}
	}
	g.guests = []*guest{first}
	for range 2 {
		p, err := g.join()
		must(t, err)
		g.guests = append(g.guests, p)
	}
	for k := range uint64(40) {
		p := g.guests[k%3]
		must(t, p.tab.Set(ctx, k, seal(k)))
		must(t, p.bs.Set(ctx, name(k), text(k)))
	}
	for n := 0; tp.More() && n < 200; n++ {
		if who := tp.Below(3); tp.Below(3) == 0 {
			g.stray()
		} else if !g.turn(who) {
			return
		}
	}
	for _, p := range g.guests {
		note(t, "Close", p.session.Close())
	}
}

func (g *game) session() *guest {
	g.rows++
	p := &guest{session: g.memory.Session(g.rows)}
	p.session.Unmap = true
	return p
}

// join is another session that attaches all.
func (g *game) join() (p *guest, err error) {
	p = g.session()
	if p.area, err = dsa.Attach(g.ctx, p.session, p.session.Self(), g.area); err != nil {
		return nil, err
	}
	if p.tab, err = dshash.Attach[uint64, sealed](p.area, g.tab, dshash.Options{}); err != nil {
		return nil, errors.Join(err, p.area.Detach())
	}
	if p.bs, err = dshash.AttachBytes(p.area, g.bs, dshash.Options{}); err != nil {
		return nil, errors.Join(err, p.area.Detach())
	}
	return p, nil
}

// turn is one guest's; it reports whether the game goes on.
func (g *game) turn(who int) bool {
	t, tp, ctx, p := g.t, g.tp, g.ctx, g.guests[who]
	k := uint64(tp.Below(60))
	switch tp.Below(18) {
	case 0, 1:
		note(t, "Set", p.tab.Set(ctx, k, seal(k)))
	case 2, 3:
		note(t, "bytes Set", p.bs.Set(ctx, name(k), text(k*uint64(tp.Below(256)))))
	case 4:
		_, _, err := p.tab.Get(ctx, k)
		note(t, "Get", err)
	case 5:
		_, _, err := p.bs.Get(ctx, name(k), nil)
		note(t, "bytes Get", err)
	case 6, 7:
		e, _, err := p.bs.Find(ctx, name(k))
		g.while()
		_, _ = e.Key(), e.Value()
		e.Release()
		note(t, "bytes Find", err)
	case 8:
		e, found, err := p.tab.FindExclusive(ctx, k)
		note(t, "FindExclusive", err)
		g.while()
		if found {
			_, _ = e.Key(), e.Value()
			if _, err := e.Update(); err != nil {
				note(t, "Update", err)
			}
			g.while()
			e.Release()
		}
	case 9, 10:
		e, _, err := p.bs.Insert(ctx, name(k), tp.Below(200))
		note(t, "bytes Insert", err)
		if err == nil {
			g.while()
			_, err := e.Update(tp.Below(256) * 7)
			note(t, "bytes Update", err)
			_, _ = e.Key(), e.Value()
			g.while()
			e.Release()
		}
	case 11:
		_, err := p.tab.Delete(ctx, k)
		note(t, "Delete", err)
	case 12:
		for e, err := range p.bs.Scan(ctx, tp.Below(2) == 0) {
			if err != nil {
				note(t, "Scan", err)
				break
			}
			if g.while(); len(e.Key())%5 == 0 {
				note(t, "Delete in Scan", e.Delete())
			}
		}
	case 13:
		_, err := p.tab.Verify(ctx)
		note(t, "Verify", err)
		note(t, "Dump", p.bs.Dump(ctx, io.Discard))
	case 14:
		_, err := dshash.VerifyAt(ctx, p.area, g.bs)
		note(t, "VerifyAt", err)
		_ = p.tab.Len()
	case 15:
		note(t, "Trim", p.area.Trim(ctx))
	case 16: // dies, or leaves
		if tp.Below(2) == 0 {
			p.session.End()
			p.session.Swap()
		} else {
			note(t, "Close", p.session.Close())
		}
		next, err := g.join()
		if note(t, "Attach", err); err != nil {
			return false
		}
		g.guests[who] = next
	case 17:
		if tp.Below(8) == 0 {
			note(t, "Destroy", p.bs.Destroy(ctx))
		}
	}
	return true
}

// while stores something while an entry is held, now and then.
func (g *game) while() {
	if g.tp.Below(4) == 0 {
		g.stray()
	}
}

// words are those of a segment.
func (g *game) words(handle uint64) []atomic.Uint64 {
	if g.maps[handle] == nil {
		b, err := g.memory.Map(g.t, handle)
		if err != nil { // it is not there, or no more
			return nil
		}
		g.maps[handle] = b
	}
	words, err := shm.SliceOf[atomic.Uint64](shm.NewRegion(g.maps[handle]), 0, len(g.maps[handle])/8)
	must(g.t, err)
	return words
}

// place is the segment and the word there that p leads to, as far as the area's rows tell.
func (g *game) place(p dsa.Pointer) (handle uint64, at int) {
	row, off := dshash.PlaceOf(p)
	if row == 0 {
		return g.area, off / 8
	}
	return g.words(g.area)[(dshash.RowsAt+row*32+8)/8].Load(), off / 8
}

// stray stores something somewhere, but into the locks, which are tried elsewhere.
func (g *game) stray() {
	tp := g.tp
	handles := g.memory.Handles()
	if len(handles) == 0 || g.words(g.area) == nil {
		return
	}
	h, at := handles[tp.Below(256)%len(handles)], int(tp.Word()>>1)
	switch kind := tp.Below(8); {
	case kind < 3: // a table
		h, at = g.place([]dsa.Pointer{g.tab, g.bs}[tp.Below(2)])
		at += tp.Below(100)
	case kind < 5: // something that one leads to
		objects := dshash.Reached(g.guests[tp.Below(3)].bs, g.guests[tp.Below(3)].tab)
		if len(objects) == 0 {
			return
		}
		h, at = g.place(objects[tp.Below(256)%len(objects)])
		at += tp.Below(100)
	case kind == 5: // a row of the area
		words := g.words(g.area)
		row := &words[(dshash.RowsAt+tp.Below(24)*32)/8]
		row.Store(row.Load() ^ []uint64{1, 2, 3, 256, 512}[tp.Below(5)])
		words[64/8].Add(1)
		return
	case kind == 6: // its header, or sessions
		h, at = g.area, tp.Below(256)*tp.Below(16)
	}
	words := g.words(h)
	if len(words) == 0 {
		return
	}
	if at = int(uint(at) % uint(len(words))); g.locked(h, at*8) {
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

// locked reports whether a place is in a lock.
func (g *game) locked(handle uint64, place int) bool {
	if handle == g.area && place >= 128 && place < 640 {
		return true
	}
	for p, begin := range g.tables {
		if begin.handle == handle && place >= begin.at && place < begin.at+1024 && dshash.InLock(p, place-begin.at) {
			return true
		}
	}
	return false
}

// begin is where an object begins.
type begin struct {
	handle uint64
	at     int
}
