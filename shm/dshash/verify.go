package dshash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// Verify and Dump: what a table has, and what is wrong in it.
//
// Both look at one partition after the other under its lock, held shared; so the numbers of a report are of no one
// moment while others change the table. They follow no pointer before the allocator has confirmed the object. Verify
// changes nothing, but that taking a lock repairs what a dead holder has left. It finds what contradicts itself; a
// value that is wrong and fits it does not.

// Report is what Verify found. A table in order has no Problems; Lost may be more than 0 in a table that has been
// repaired.
type Report struct {
	// Entries is the number of entries.
	Entries int
	// Lines is the number of lines, of 64 bytes and 7 slots each, in all arrays.
	Lines int
	// Objects is the number of the area's objects that are the table's: the table itself, arrays, entries, the
	// reserve, and what is in hands.
	Objects int
	// Bytes is the sum of the lengths that the table asked the area for.
	Bytes int64
	// Lost is the number of entries that repairs could not keep, since a program wrote where it shouldn't.
	Lost int
	// Problems says what is wrong and has not been mended, a sentence for each.
	Problems []string
}

// verify looks at the reserve and at each partition. It waits for their locks until ctx is over. If a lock can't be
// taken, or the area ends, there is no report.
func (t *core) verify(ctx context.Context) (rep Report, err error) {
	rep = Report{Objects: 1, Bytes: int64(tableSize(len(t.parts)))}
	if err := t.contained(func() error { return t.verifyReserve(ctx, &rep) }); t.orClosed(err) != nil {
		return Report{}, t.orClosed(err)
	}
	for i := range t.parts {
		if err := t.verifyPart(ctx, i, &rep); err != nil {
			return Report{}, err
		}
	}
	return rep, nil
}

// verifyPart adds partition i to the report, with its lock held shared.
func (t *core) verifyPart(ctx context.Context, i int, rep *Report) error {
	return t.withPartLock(ctx, i, false, func() error {
		return t.verifyLocked(i, rep)
	})
}

// verifyReserve adds the reserve's objects to the report, with its lock held; taking that finishes what a dead holder
// has begun.
func (t *core) verifyReserve(ctx context.Context, rep *Report) error {
	g, err := t.lockReserve(ctx, forever)
	if err != nil {
		return err
	}
	defer t.unlockReserve(g)
	x := examination{t: t, rep: rep, of: "the reserve"}
	for k := range t.spared.places {
		x.countObject(t.spared.places[k].Pointer())
	}
	// Longest goes up under this lock only.
	room := uint64(t.reserveRoom())
	for i := range t.parts {
		if n := t.parts[i].longest.Load(); n > room {
			x.addProblem("it has room for %d bytes, and an entry of partition %d has up to %d", room, i, n)
		}
	}
	return x.over
}

// examination is the look at one part of the table: a partition or the reserve.
type examination struct {
	t   *core
	rep *Report
	// of names the part in the texts of Problems.
	of string
	// over is the error of an area that has ended, of whose rest nothing is known.
	over error
}

// addProblem adds a problem to the report.
func (x *examination) addProblem(format string, args ...any) {
	x.rep.Problems = append(x.rep.Problems, x.of+": "+fmt.Sprintf(format, args...))
}

// addError adds the error of a look at shared bytes to the report, as a problem at that place. The end of the area is no
// problem of the table; it is noted in over.
func (x *examination) addError(where string, err error) {
	if errors.Is(err, ErrClosed) {
		x.over = err
		return
	}
	x.addProblem("%s%v", where, err)
}

// countObject counts the object at that pointer, if it is one; a pointer to none is a problem. 0 is no object, and
// none is missing.
func (x *examination) countObject(at dsa.Pointer) {
	if at == 0 {
		return
	}
	b, err := x.t.area.Bytes(at)
	if err != nil {
		x.addError("", err)
	}
	x.rep.Objects++
	x.rep.Bytes += int64(len(b))
}

// verifyLocked adds partition i to the report. The caller holds the partition's lock, shared. Its error is that the
// area has ended: then nothing is known of the rest. All else that is wrong is a problem in the report.
func (t *core) verifyLocked(i int, rep *Report) (over error) {
	x := examination{t: t, rep: rep, of: fmt.Sprintf("partition %d", i)}
	p := &t.parts[i]
	rep.Lost += int(p.lost.Load())
	// Under the lock an odd number is of no change that is under way, and a dead holder's has been repaired.
	if v := p.version.Load() | p.rebuilds.Load(); v&1 != 0 {
		x.addProblem("it is marked as being changed, and no session changes it")
	}
	var arrays [2][]line
	var err error
	for k, w := range []*atomic.Uint64{&p.array, &p.old} {
		if arrays[k], err = t.strictLines(dsa.Pointer(w.Load())); err != nil {
			x.addError("", err)
			return x.over
		}
		x.countObject(dsa.Pointer(w.Load()))
	}
	x.countObject(dsa.Pointer(p.next.Load()))
	for k := range p.hands {
		at := dsa.Pointer(p.hands[k].Load())
		if x.countObject(at); at != 0 && t.isLinked(p, arrays, at) {
			x.addProblem("hand %d has %v, which is linked", k, at)
		}
	}
	// From here on the entries of this partition are counted, by what the slots say.
	n := rep.Entries
	seen := map[string]bool{}
	for _, ls := range arrays {
		x.checkLines(i, ls, seen)
	}
	// What is garbled the lines have reported.
	if most, err := t.longestIn(arrays[:]...); err == nil && most > p.longest.Load() {
		x.addProblem("an entry has %d bytes, and the longest counts as %d", most, p.longest.Load())
	}
	if n = rep.Entries - n; uint64(n) != p.count.Load() {
		x.addProblem("%d entries are there, and it counts %d", n, p.count.Load())
	}
	return x.over
}

// checkLines looks at an array of partition i: each slot leads to an item of this partition and bears its tag, no key is
// there twice, and each line's overflow is the number of entries that passed it. The keys that were seen are added to
// seen.
func (x *examination) checkLines(i int, ls []line, seen map[string]bool) {
	further := make([]uint64, len(ls)) // entries that passed each line
	for k := range ls {
		for slot := range ls[k].slots {
			at, tag := dsa.Pointer(ls[k].slots[slot].Load()), ls[k].tags.Load()>>(slot*8)&0xff
			if at == 0 {
				if tag != 0 {
					x.addProblem("slot %d of line %d is empty and bears tag %#x", slot, k, tag)
				}
				continue
			}
			h, key, err := x.t.strictItem(i, at)
			if err != nil {
				x.addError(fmt.Sprintf("slot %d of line %d: ", slot, k), err)
				continue
			}
			x.countObject(at)
			x.rep.Entries++
			if tag != tagOf(h) {
				x.addProblem("slot %d of line %d bears tag %#x and should %#x", slot, k, tag, tagOf(h))
			}
			if seen[string(key)] {
				x.addProblem("the key %x is there twice", key)
			}
			seen[string(key)] = true
			for j := homeOf(h, len(ls)); j != k; j = (j + 1) % len(ls) {
				further[j]++
			}
		}
	}
	for k := range ls {
		if n := overflowOf(ls[k].tags.Load()); n != further[k] && n != overflowFull {
			x.addProblem("%d entries passed line %d, which counts %d", further[k], k, n)
		}
	}
	x.rep.Lines += len(ls)
}

// dump writes a line with the numbers of a report, and one for each partition that is held and for each problem. It
// waits as verify does, and takes no lock for the holders: those are as of the moment when each was asked for.
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
				held = append(held, fmt.Sprintf("partition %d is held by %v%s", i, s.Exclusive[0], waitersText(s)))
			case len(s.Shared) > 0:
				held = append(held, fmt.Sprintf("partition %d is held shared by %v%s", i, s.Shared, waitersText(s)))
			}
		}
		return nil
	})
	if err = t.orClosed(err); err != nil {
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

// waitersText returns how many processes wait for a lock, as the end of a sentence.
func waitersText(s shmsync.Status) string {
	if len(s.Waiting) == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d wait", len(s.Waiting))
}

// VerifyAt does what Verify does for the table with that handle, whatever its types and version are: for programs
// that know none of them, such as dsmctl. It fails as Attach does, and otherwise as Verify.
func VerifyAt(ctx context.Context, a *dsa.Area, handle dsa.Pointer) (Report, error) {
	t := newCore(a, shape{}, handle)
	var s shape
	var o Options
	err := t.contained(func() error {
		if err := t.findHeader(); err != nil {
			return err
		}
		// ValueAt need not be right: Verify compares keys only, and an item is at least as long as both.
		k, v := t.head.keySize.Load(), t.head.valueSize.Load()
		s = shape{
			kind: t.head.form.Load() & 0xff, keySize: k, valueSize: v, valueAt: int(k),
			size: int(k) + int(v), layout: t.head.layout.Load(),
		}
		o.Version = t.head.user.Load()
		return nil
	})
	if err = t.orClosed(err); err != nil {
		return Report{}, err
	}
	// The shape is taken from the header, so this bounds what the length of an item is computed from. Attach checks
	// the rest.
	if s.kind != kindFixed && s.kind != kindBytes || s.keySize > maxFixed || s.valueSize > maxFixed {
		return Report{}, corrupt("no table begins at %v", handle)
	}
	if t, err = attach(a, handle, s, o); err != nil {
		return Report{}, err
	}
	return t.verify(ctx)
}
