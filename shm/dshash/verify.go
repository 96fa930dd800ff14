package dshash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// Report is what Verify found.
type Report struct {
	Entries  int
	Lines    int      // of 64 bytes and 7 slots each, in all arrays
	Objects  int      // of the area, that are the table's: with itself, arrays, entries, and spare ones
	Bytes    int64    // those that it asked the area for
	Lost     int      // slots that led nowhere when a partition was repaired: somebody wrote where he shouldn't
	Problems []string // what is wrong, and not mended
}

func (t *core) verify(ctx context.Context) (rep Report, err error) {
	rep = Report{Objects: 1, Bytes: int64(tableSize(len(t.parts)))}
	for i := range t.parts {
		if err := t.verifyPart(ctx, i, &rep); err != nil {
			return Report{}, err
		}
	}
	return rep, nil
}

func (t *core) verifyPart(ctx context.Context, i int, rep *Report) error {
	return t.under(ctx, i, false, func() error {
		return t.verifyLocked(i, rep)
	})
}

// verifyLocked looks at a partition, under its lock. Its error is that the area's owner or session has ended: then nothing
// is known of the rest.
func (t *core) verifyLocked(i int, rep *Report) (over error) {
	say := func(format string, args ...any) {
		rep.Problems = append(rep.Problems, fmt.Sprintf("partition %d: ", i)+fmt.Sprintf(format, args...))
	}
	fails := func(where string, err error) {
		if errors.Is(err, ErrClosed) {
			over = err
			return
		}
		say("%s%v", where, err)
	}
	owns := func(at dsa.Pointer) {
		b, err := t.area.Bytes(at)
		if err != nil {
			fails("", err)
		}
		rep.Objects++
		rep.Bytes += int64(len(b))
	}
	p := &t.parts[i]
	rep.Lost += int(p.lost.Load())
	at := dsa.Pointer(p.array.Load())
	ls, err := t.strictLines(at)
	if err != nil {
		fails("", err)
		return over
	}
	if at != 0 {
		owns(at)
	}
	for k := range p.hands {
		if at := dsa.Pointer(p.hands[k].Load()); at != 0 {
			owns(at)
			if uint64(at) == p.array.Load() || leads(ls, at) {
				say("hand %d has %v, which is linked", k, at)
			}
		}
	}
	n := rep.Entries
	seen := map[string]bool{}
	further := make([]uint64, len(ls)) // entries that passed each line
	for k := range ls {
		for slot := range ls[k].slots {
			at, tag := dsa.Pointer(ls[k].slots[slot].Load()), ls[k].tags.Load()>>(slot*8)&0xff
			if at == 0 {
				if tag != 0 {
					say("slot %d of line %d is empty and bears tag %#x", slot, k, tag)
				}
				continue
			}
			h, key, err := t.strictItem(i, at)
			if err != nil {
				fails(fmt.Sprintf("slot %d of line %d: ", slot, k), err)
				continue
			}
			owns(at)
			rep.Entries++
			if tag != tagOf(h) {
				say("slot %d of line %d bears tag %#x and should %#x", slot, k, tag, tagOf(h))
			}
			if seen[string(key)] {
				say("the key %x is there twice", key)
			}
			seen[string(key)] = true
			for j := homeOf(h, len(ls)); j != k; j = (j + 1) % len(ls) {
				further[j]++
			}
		}
	}
	for k := range ls {
		if n := overflow(ls[k].tags.Load()); n != further[k] && n != overflowFull {
			say("%d entries passed line %d, which counts %d", further[k], k, n)
		}
	}
	if n = rep.Entries - n; uint64(n) != p.count.Load() {
		say("%d entries are there, and it counts %d", n, p.count.Load())
	}
	rep.Lines += len(ls)
	return over
}

func (t *core) dump(ctx context.Context, w io.Writer) error {
	rep, err := t.verify(ctx)
	if err != nil {
		return err
	}
	most := uint64(0)
	var held []string
	err = t.contained(func() error {
		for i := range t.parts {
			most = max(most, t.parts[i].count.Load())
			switch s := t.local[i].lock.Status(); {
			case len(s.Exclusive) > 0:
				held = append(held, fmt.Sprintf("partition %d is held by %v%s", i, s.Exclusive[0], behind(s)))
			case len(s.Shared) > 0:
				held = append(held, fmt.Sprintf("partition %d is held shared by %v%s", i, s.Shared, behind(s)))
			}
		}
		return nil
	})
	if err = t.answer(err); err != nil {
		return err
	}
	load := 0.0
	if rep.Lines > 0 {
		load = float64(rep.Entries) / float64(rep.Lines*slotsPerLine)
	}
	what := "byte strings"
	if t.kind == kindFixed {
		what = fmt.Sprintf("keys of %d bytes, values of %d", t.keySize, t.valueSize)
	}
	_, err = fmt.Fprintf(w, "table %v of %s: %d entries in %d partitions (at most %d in one), %d lines, %.0f %% full; "+
		"%s in %d objects; %d lost\n%s",
		t.handle, what, rep.Entries, len(t.parts), most, rep.Lines, load*100,
		bytesize.Format(uint64(rep.Bytes)), rep.Objects, rep.Lost,
		strings.Join(append(append(held, rep.Problems...), ""), "\n"))
	return err
}

func behind(s shmsync.Status) string {
	if len(s.Waiting) == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d wait", len(s.Waiting))
}
