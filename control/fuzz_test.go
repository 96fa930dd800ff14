package control

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"reflect"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/testing/tape"
	"github.com/godsm/godsm/shm"
)

// Whatever bytes are in a control segment, each call returns: with an answer, or with an error of a known kind
// that, if it is ErrCorrupt, says where. And no object is ever to be destroyed that was never made.

var fuzzLimits = Limits{
	Processes: 4, Segments: 5, SegmentsPerProcess: 4,
	Memory: 1 << 20, MemoryPerProcess: 1 << 19, Reserved: 3 * PageSize,
}

// says where: a row with what is wrong in it, or a field of the header.
var place = regexp.MustCompile(`control segment: (the \S+ of (process )?row \d+|row \d+ |` +
	`its \S+( \S+)* is invalid|it was made by|.* of \d+ bytes)`)

func checkError(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if r, ok := errors.AsType[runtime.Error](err); ok {
		t.Fatalf("%s: a panic was needed to find it: %v", what, r)
	}
	if errors.Is(err, ErrCorrupt) {
		if !place.MatchString(err.Error()) {
			t.Fatalf("%s: it does not say where: %v", what, err)
		}
		return
	}
	for _, kind := range []error{ErrNotFound, ErrTooManySegments, ErrTooManyProcesses,
		errkind.Version, ErrQuota, ErrStale, ErrClosed, ErrInUse, context.DeadlineExceeded} {
		if errors.Is(err, kind) {
			return
		}
	}
	t.Fatalf("%s: an error of no known kind: %v", what, err)
}

// fuzzWorld is a world in which anything may stand anywhere.
type fuzzWorld struct {
	*world
	tape    *tape.Tape
	members []*Member
	known   []Entry          // that Create has given; any may be long gone
	made    map[uint64]Entry // by handle, as they were written last
}

func newFuzzWorld(t *testing.T, region []byte, table *Table, program []byte) *fuzzWorld {
	w := &fuzzWorld{
		world: &world{T: t, Table: table, witness: &fakeWitness{held: map[int]bool{}}, bytes: region},
		tape:  tape.New(program), made: map[uint64]Entry{},
	}
	return w
}

// moment bounds a call: long enough to ask whether a lock's holder lives.
func moment() (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 3*time.Millisecond)
}

// run does what the tape says. Nothing in it takes long; a test that is still at it after a minute hangs.
func (w *fuzzWorld) run() {
	hung := time.AfterFunc(time.Minute, func() { debug.SetTraceback("all"); panic("a call hangs") })
	defer hung.Stop()
	for n := 0; w.tape.More() && n < 200; n++ {
		what := w.tape.Below(len(steps) + 3)
		if what >= len(steps) {
			w.garble()
			continue
		}
		s := steps[what]
		var m *Member
		if s.member {
			if len(w.members) == 0 {
				continue
			}
			m = w.members[w.tape.Below(len(w.members))]
		}
		ctx, cancel := moment()
		checkError(w.T, s.name, s.do(ctx, w, m))
		cancel()
	}
}

// entry is one that was given by Create, or one that never was.
func (w *fuzzWorld) entry() Entry {
	if i := w.tape.Below(len(w.known) + 1); i < len(w.known) {
		return w.known[i]
	}
	return Entry{Handle: w.tape.Word(), Size: w.tape.Below(256)}
}

func (w *fuzzWorld) joined(m *Member, err error) error {
	if m != nil {
		w.members = append(w.members, m)
	}
	return err
}

// destroy makes an object go, which must be one that was made.
func (w *fuzzWorld) destroy(ctx context.Context, m *Member, e Entry) error {
	if was, ok := w.made[e.Handle]; !ok || was.Size != e.Size || was.Word != e.Word && e.Word != 0 {
		w.Fatalf("to be destroyed: %+v, made was %+v", e, was)
	}
	return m.Destroyed(ctx, e)
}

var steps = []struct {
	name   string
	member bool
	do     func(ctx context.Context, w *fuzzWorld, m *Member) error
}{
	{"Join", false, func(ctx context.Context, w *fuzzWorld, _ *Member) error {
		return w.joined(w.Join(ctx, w.witness, w.who()))
	}},
	{"JoinSupervisor", false, func(ctx context.Context, w *fuzzWorld, _ *Member) error {
		return w.joined(w.JoinSupervisor(ctx, w.witness, w.who()))
	}},
	{"die", true, func(_ context.Context, w *fuzzWorld, m *Member) error { w.die(m); return nil }},
	{"die with the lock", true, func(ctx context.Context, w *fuzzWorld, m *Member) error {
		_, err := m.enter(ctx, plain)
		w.die(m)
		return err
	}},
	{"Create", true, func(ctx context.Context, w *fuzzWorld, m *Member) error {
		e, err := m.Create(ctx, 1+w.tape.Below(256), time.Now())
		if err == nil {
			w.known, w.made[e.Handle] = append(w.known, e), e
		}
		return err
	}},
	{"Create to the end", true, func(ctx context.Context, w *fuzzWorld, m *Member) error {
		e, err := m.Create(ctx, 1+w.tape.Below(256), time.Now())
		if err != nil {
			return err
		}
		e.Word = uint64(w.tape.Below(256))
		w.known, w.made[e.Handle] = append(w.known, e), e
		return m.Created(ctx, e, e.Word)
	}},
	{"Abandon", true, func(ctx context.Context, w *fuzzWorld, m *Member) error { return m.Abandon(ctx, w.entry()) }},
	{"Ref", true, func(ctx context.Context, w *fuzzWorld, m *Member) error {
		e, err := m.Ref(ctx, w.entry().Handle)
		if was, ok := w.made[e.Handle]; err == nil &&
			(!ok || was.Size != e.Size || was.Word != e.Word || was.Page != e.Page) {
			w.Fatalf("Ref gives %+v, made was %+v", e, was)
		}
		return err
	}},
	{"Unref", true, func(ctx context.Context, w *fuzzWorld, m *Member) error {
		e := w.entry()
		last, err := m.Unref(ctx, e)
		if last && w.tape.Below(2) == 0 {
			err = errors.Join(err, w.destroy(ctx, m, e))
		}
		return err
	}},
	{"Pin", true, func(ctx context.Context, w *fuzzWorld, m *Member) error {
		return m.Pin(ctx, w.entry().Handle, w.tape.Below(2) == 0)
	}},
	{"Kept", true, func(ctx context.Context, w *fuzzWorld, m *Member) error {
		_, err := m.Kept(ctx, w.entry().Handle)
		return err
	}},
	{"Unpin", true, func(ctx context.Context, w *fuzzWorld, m *Member) error {
		e, last, err := m.Unpin(ctx, w.entry().Handle)
		if last {
			err = errors.Join(err, w.destroy(ctx, m, e))
		}
		return err
	}},
	{"DestroyFailed", true, func(ctx context.Context, w *fuzzWorld, m *Member) error {
		return m.DestroyFailed(ctx, w.entry(), uint32(w.tape.Word()))
	}},
	{"Reclaim", true, func(ctx context.Context, w *fuzzWorld, m *Member) error {
		row := w.tape.Below(256) - 100
		if list, err := w.Processes(); err == nil && len(list) > 0 && row > 0 {
			p := list[row%len(list)]
			_, err := m.Reclaim(ctx, p.Row, p.Incarnation)
			return err
		}
		_, err := m.Reclaim(ctx, row, uint32(w.tape.Word()))
		return err
	}},
	{"Owed", true, func(ctx context.Context, w *fuzzWorld, m *Member) error {
		entries, err := m.Owed(ctx)
		for _, e := range entries {
			err = errors.Join(err, w.destroy(ctx, m, e))
		}
		return err
	}},
	{"Owe", true, func(_ context.Context, w *fuzzWorld, m *Member) error { m.Owe(w.entry()); return nil }},
	{"Retry", true, func(ctx context.Context, w *fuzzWorld, m *Member) error { return m.Retry(ctx) }},
	{"ReleaseAll", true, func(ctx context.Context, w *fuzzWorld, m *Member) error { return m.ReleaseAll(ctx) }},
	{"Leave", true, func(ctx context.Context, w *fuzzWorld, m *Member) error {
		done, err := m.Leave(ctx)
		if done {
			w.die(m)
		}
		return err
	}},
	{"Close", true, func(ctx context.Context, w *fuzzWorld, m *Member) error { return m.Close(ctx) }},
	{"CloseByForce", false, func(_ context.Context, w *fuzzWorld, _ *Member) error { return w.CloseByForce() }},
	{"Carve", true, func(ctx context.Context, w *fuzzWorld, m *Member) error {
		e, ok, err := m.Carve(ctx, 1+w.tape.Below(256)*40, 0)
		if ok {
			w.known, w.made[e.Handle] = append(w.known, e), e
			w.within(e)
		}
		return err
	}},
	{"TryCarve", true, func(_ context.Context, w *fuzzWorld, m *Member) error {
		if e, ok := m.TryCarve(1+w.tape.Below(256)*40, 0); ok {
			w.known, w.made[e.Handle] = append(w.known, e), e
			w.within(e)
		}
		return nil
	}},
	{"Publish", true, func(_ context.Context, w *fuzzWorld, m *Member) error {
		e := w.entry()
		return m.Publish(&e, nil)
	}},
	{"TryUnref", true, func(_ context.Context, w *fuzzWorld, m *Member) error { m.TryUnref(w.entry()); return nil }},
	{"look", false, func(_ context.Context, w *fuzzWorld, _ *Member) error { return w.look() }},
}

// look calls all that only looks.
func (w *fuzzWorld) look() error {
	ps, err1 := w.Processes()
	for _, p := range ps {
		if p.Row < 0 || p.Row > w.Limits.Processes {
			w.Fatalf("a process in row %d", p.Row)
		}
	}
	ss, err2 := w.Segments()
	for _, s := range ss {
		for _, row := range s.Holders {
			if row < 0 || row > w.Limits.Processes {
				w.Fatalf("a holder in row %d", row)
			}
		}
		if s.Sound {
			w.within(s.Entry)
		}
		if was, ok := w.made[s.Handle]; s.Sound &&
			(!ok || was.Size != s.Size || was.Page != s.Page || was.Word != s.Word && s.Word != 0) {
			w.Fatalf("%+v is called sound, made was %+v", s.Entry, was)
		}
		_ = s.State.String()
	}
	_, _, err3 := w.Used()
	_, _, err4 := w.LockHolder()
	_, err5 := w.Unfinished()
	_, err6 := w.WaitNews(ctx, w.Reclaims(), 0)
	deaths, err7 := w.Deaths()
	if err7 == nil {
		_, err7 = deaths.Next()
	}
	_, err8 := w.AwaitsKeeper(w.entry().Handle)
	_ = w.RowState(w.tape.Below(256))
	_ = w.Closing()
	w.Nudge()
	_, err9 := Open(shm.NewRegion(w.bytes))
	for _, err := range []error{err1, err2, err3, err4, err5, err6, err7, err8, err9} {
		checkError(w.T, "look", err)
	}
	return nil
}

// within: whatever bytes are in the books, no process is led out of the region.
func (w *fuzzWorld) within(e Entry) {
	if at, carved := e.Carved(); carved && (at < 0 || uint64(at+e.Size) > w.Limits.Reserved) {
		w.Fatalf("%+v is not in a region of %d bytes", e, w.Limits.Reserved)
	}
}

// garble writes nonsense: a byte anywhere, or a value that might mean something into a field of some row.
func (w *fuzzWorld) garble() {
	if w.tape.Below(4) == 0 {
		w.bytes[int(w.tape.Word()%uint64(len(w.bytes)))] ^= byte(1 + w.tape.Below(255))
		return
	}
	fields := fieldsOf(w.Limits)
	names := slices.Sorted(maps.Keys(fields))
	places := fields[names[w.tape.Below(len(names))]]
	f := places[w.tape.Below(len(places))]
	b := w.bytes[f.at : f.at+f.size]
	switch k := w.tape.Below(12); {
	case k < 4: // flip a bit
		n := w.tape.Below(8 * min(f.size, 32))
		b[n/8] ^= 1 << (n % 8)
	case k < 6: // what the same field has elsewhere
		g := places[w.tape.Below(len(places))]
		copy(b, w.bytes[g.at:g.at+g.size])
	default:
		v := []uint64{0, 1, 2, 3, 9, 0xffff, 1 << 31, ^uint64(0), 1 << 63, w.tape.Word()}[w.tape.Below(10)]
		for i := range b {
			b[i] = byte(v >> (i % 8 * 8))
		}
	}
}

type placed struct{ at, size int }

// fieldsOf lists where each field of a control segment stands, in all its rows.
func fieldsOf(l Limits) map[string][]placed {
	list := map[string][]placed{}
	add := func(part string, t reflect.Type, at, rows, stride int) {
		for f := range t.Fields() {
			if f.Name == "_" || f.Type == reflect.TypeFor[constants]() {
				continue
			}
			for i := range rows {
				name := part + "." + f.Name
				list[name] = append(list[name], placed{at + i*stride + int(f.Offset), int(f.Type.Size())})
			}
		}
	}
	o := offsetsOf(l)
	k, _ := reflect.TypeFor[header]().FieldByName("constants")
	add("header", reflect.TypeFor[header](), 0, 1, 0)
	add("constants", reflect.TypeFor[constants](), int(k.Offset), 1, 0)
	add("process", reflect.TypeFor[processRow](), o.processes, l.processRows(), processRowSize)
	add("segment", reflect.TypeFor[segmentRow](), o.segments, l.Segments, segmentRowSize)
	for i := range l.Segments * l.bitWords() {
		list["bits"] = append(list["bits"], placed{o.bits + 8*i, 8})
	}
	add("pages", reflect.TypeFor[pageWord](), o.pages, l.pageWords(), pageWordSize)
	return list
}

func FuzzBooks(f *testing.F) {
	for i := range steps { // each step at the end of a life, before and after something was garbled
		life := []byte{1, 0, 0, 5, 1, 9, 5, 2, 3, 7, 1, 0, 9, 1, 0, 1, 4, 1, 8}
		f.Add(append(bytes.Clone(life), byte(i), 1, 0, 0, byte(i), 2, 1, 1))
		f.Add(append(bytes.Clone(life), byte(len(steps)), 1, byte(3*i), 1, 7, 7, byte(i), 1, 0, 0, byte(i), 2, 1, 1))
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		base := newWorld(t, fuzzLimits)
		w := newFuzzWorld(t, base.bytes, base.Table, program)
		w.run()
	})
}

// FuzzOpen reads a control segment that another process has written. What Open takes, all calls must bear.
func FuzzOpen(f *testing.F) {
	for _, l := range []Limits{fuzzLimits, {Processes: 1, Segments: 1}, {Processes: 64, Segments: 3}} {
		b := make([]byte, Size(l))
		if err := Format(shm.NewRegion(b),
			Constants{Generation: 3, Backend: "mmap", Dir: "/x", Limits: l}); err != nil {
			f.Fatal(err)
		}
		f.Add(b[:headerSize], b[headerSize:], false, []byte{0, 1, 5, 0, 1, 1})
		f.Add(b[:headerSize], b[headerSize:], true, []byte{0, 0, 5, 0, 1, 1, 21, 2, 0, 13, 1, 255})
	}
	f.Fuzz(func(t *testing.T, head, rows []byte, sealed bool, program []byte) {
		b := append(bytes.Clone(head), rows...)
		if sealed && len(b) >= checksumTo {
			sum, _ := formatChecksum(shm.NewRegion(b))
			binary.NativeEndian.PutUint64(b[8:], sum)
		}
		table, err := Open(shm.NewRegion(b))
		checkError(t, "Open", err)
		if err != nil {
			return
		}
		w := newFuzzWorld(t, b, table, program)
		list, _ := table.Segments()
		for _, s := range list { // what stands there soundly was made
			if s.Sound {
				w.known, w.made[s.Handle] = append(w.known, s.Entry), s.Entry
			}
		}
		w.run()
	})
}
