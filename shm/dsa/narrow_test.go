package dsa

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/shm"
)

// TestNumbersBeyondAnInt stores numbers into each field of 32 bits that an int of a 32-bit processor takes for negative:
// each call has an answer or an error of the area's, and none takes the number for an index.
func TestNumbersBeyondAnInt(t *testing.T) {
	fields := []string{"next"}
	for _, f := range []string{"chunks", "free", "longest", "low"} {
		fields = append(fields, "row: "+f)
	}
	for _, f := range []string{"class", "chunks", "back"} {
		fields = append(fields, "span: "+f)
	}
	for _, f := range []string{"head", "next", "prev"} {
		fields = append(fields, "list: "+f+", chunk", "list: "+f+", segment")
	}
	for _, field := range fields {
		for _, n := range []uint32{1 << 31, 1<<31 + 1, 1<<31 + 5, ^uint32(0)} {
			t.Run(fmt.Sprintf("%s %#x", field, n), func(t *testing.T) {
				a := inPlace(t, 1)
				ps := objects(t, a)
				setNumber(a, field, n)
				b, err := AttachInPlace(context.Background(), shm.NewRegion(a.maps[0].Load().bytes), nil, someone(2))
				noteNarrow(t, err)
				useNarrow(t, a, ps)
				if err == nil {
					setNumber(b, field, n)
					useNarrow(t, b, objects(nil, b))
					noteNarrow(t, b.Detach())
				}
				noteNarrow(t, a.Detach())
			})
		}
	}
}

// objects allocates objects of all kinds: in shared spans, in spans of the session's own, in spans of many chunks, and
// with chunks of their own.
func objects(t *testing.T, a *Area) (ps []Pointer) {
	OwnSpans(a)
	for _, n := range []int{16, 1000, 1000, 3000, 3000, 8000, 20_000, 100_000} {
		p, err := a.Alloc(n)
		if err != nil && t != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

// setNumber stores n into all fields of that name.
func setNumber(a *Area, field string, n uint32) {
	half := func(w *atomic.Uint64, chunk bool) {
		if old := w.Load(); chunk {
			w.Store(old&^(1<<32-1) | 1<<32 | uint64(n))
		} else {
			w.Store(old&(1<<32-1) | uint64(n)<<32)
		}
	}
	row, spans := &a.rows[0], a.maps[0].Load().spans
	each := func(f func(s *span)) {
		for i := range spans {
			f(&spans[i])
		}
	}
	switch field {
	case "next":
		a.head.next.Store(n)
	case "row: chunks":
		row.chunks.Store(n)
	case "row: free":
		row.free.Store(n)
	case "row: longest":
		row.longest.Store(n)
	case "row: low":
		row.low.Store(n)
	case "span: class":
		each(func(s *span) { s.class.Store(n) })
	case "span: chunks":
		each(func(s *span) { s.chunks.Store(n) })
	case "span: back":
		each(func(s *span) { s.back.Store(n) })
	case "list: head, chunk", "list: head, segment":
		for i := range a.head.partial {
			half(&a.head.partial[i], field == "list: head, chunk")
		}
	case "list: next, chunk", "list: next, segment":
		each(func(s *span) { half(&s.next, field == "list: next, chunk") })
	case "list: prev, chunk", "list: prev, segment":
		each(func(s *span) { half(&s.prev, field == "list: prev, chunk") })
	}
}

// useNarrow calls everything that follows a number of the area's.
func useNarrow(t *testing.T, a *Area, ps []Pointer) {
	t.Helper()
	ctx := context.Background()
	note := func(err error) { t.Helper(); noteNarrow(t, err) }
	for i, p := range ps {
		_, err := a.Bytes(p)
		note(err)
		if i&1 == 0 {
			note(a.Free(p))
		}
	}
	for _, n := range []int{16, 1000, 3000, 8000, 20_000, 100_000, 300_000, 1 << 20} {
		_, err := a.Alloc(n)
		note(err)
	}
	note(a.Trim(ctx))
	_, err := a.Stats(ctx)
	note(err)
	_, err = a.Recover(ctx)
	note(err)
	_, err = a.Verify(ctx)
	note(err)
}

// noteNarrow looks at the error of a call.
func noteNarrow(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrPointer) && !errors.Is(err, ErrNoMemory) {
		t.Error(err)
	}
}
