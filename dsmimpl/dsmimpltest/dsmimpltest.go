// Package dsmimpltest is the suite that judges every backend, those of other people too: a test of theirs is
//
//	func TestConformance(t *testing.T) {
//		dsmimpltest.Run(t, func(t *testing.T) dsmimpl.Backend { return mine.New() })
//	}
//
// What a backend alone has (limits of a kernel, a directory) is tested beside it.
package dsmimpltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/leaktest"
	"github.com/google/uuid"
)

// Run judges the backend that maker makes. A backend that refuses (disabled, or not for this system) must
// refuse everything in the same way.
func Run(t *testing.T, maker func(t *testing.T) dsmimpl.Backend) {
	probe := maker(t)
	if name := probe.Name(); name == "" || len(name) > 15 {
		t.Fatalf("Name() = %q, want 1 to 15 bytes", name)
	}
	_, _, err := probe.Create(context.Background(), dsmimpl.Object{Size: 1, Handle: 1 << 16})
	for _, refusal := range []error{dsmimpl.ErrDisabled, dsmimpl.ErrUnsupported} {
		if errors.Is(err, refusal) {
			t.Run("refusal", func(t *testing.T) { testRefusal(t, probe, refusal) })
			return
		}
	}
	if err == nil {
		_ = probe.Destroy(context.Background(), dsmimpl.Object{Size: 1, Handle: 1 << 16})
	}
	for _, c := range []struct {
		name string
		test func(*bench)
	}{
		{"zero and exact", testZeroAndExact},
		{"shared", testShared},
		{"exclusive", testExclusive},
		{"missing", testMissing},
		{"bad sizes", testBadSizes},
		{"larger than 4 GiB", testLarge},
		{"destroy", testDestroy},
		{"destroy without word", testDestroyWithoutWord},
		{"read only", testReadOnly},
		{"truthful size", testTruthfulSize},
		{"cancelled", testCancelled},
		{"list", testList},
		{"guard", testGuard},
		{"keep", testKeep},
		{"concurrent", testConcurrent},
		{"no residue", testNoResidue},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{T: t, Backend: maker(t), instance: uuid.New(), generation: rand.Uint64N(1 << 40)}
			leaktest.None(t, b.instance)
			c.test(b)
		})
	}
}

// bench is one test's backend and instance. What it makes is destroyed at the test's end.
type bench struct {
	*testing.T
	dsmimpl.Backend
	instance   uuid.UUID
	generation uint64
	row        uint16
	mu         sync.Mutex
}

// object is a new one, as package control would name it.
func (b *bench) object(size int) dsmimpl.Object {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.row++
	handle := rand.Uint64()&^0xffff | 1<<16 | uint64(b.row)
	return dsmimpl.Object{Instance: b.instance, Generation: b.generation, Handle: handle,
		Size: size, CreatorPid: os.Getpid()}
}

func (b *bench) create(o dsmimpl.Object) (dsmimpl.Object, dsmimpl.Mapping) {
	b.Helper()
	m, word, err := b.Create(context.Background(), o)
	if err != nil {
		b.Fatalf("Create of %d bytes: %v", o.Size, err)
	}
	o.Word = word
	b.Cleanup(func() { _ = b.Destroy(context.Background(), o) })
	if len(m.Bytes) != o.Size {
		b.Fatalf("Create gave %d bytes, want %d", len(m.Bytes), o.Size)
	}
	return o, m
}

func (b *bench) attach(o dsmimpl.Object, a dsmimpl.Access) dsmimpl.Mapping {
	b.Helper()
	m, err := b.Attach(context.Background(), o, a)
	if err != nil {
		b.Fatalf("Attach: %v", err)
	}
	return m
}

func (b *bench) detach(ms ...dsmimpl.Mapping) {
	b.Helper()
	for _, m := range ms {
		if err := b.Detach(m); err != nil {
			b.Errorf("Detach: %v", err)
		}
	}
}

func (b *bench) destroy(o dsmimpl.Object) {
	b.Helper()
	if err := b.Destroy(context.Background(), o); err != nil {
		b.Errorf("Destroy: %v", err)
	}
}

func (b *bench) wantGone(o dsmimpl.Object) {
	b.Helper()
	if m, err := b.Attach(context.Background(), o, dsmimpl.ReadWrite); !errors.Is(err, dsmimpl.ErrNotFound) ||
		!errors.Is(err, fs.ErrNotExist) {
		b.Errorf("Attach = %v, want ErrNotFound", err)
		if err == nil {
			b.detach(m)
		}
	}
}

func testRefusal(t *testing.T, b dsmimpl.Backend, want error) {
	ctx, o := context.Background(), dsmimpl.Object{Instance: uuid.New(), Handle: 1 << 16, Size: 1}
	_, attach := b.Attach(ctx, o, dsmimpl.ReadWrite)
	for op, err := range map[string]error{"Attach": attach, "Detach": b.Detach(dsmimpl.Mapping{}),
		"Destroy": b.Destroy(ctx, o)} {
		if !errors.Is(err, want) {
			t.Errorf("%s = %v, want %v", op, err, want)
		}
	}
}

func testZeroAndExact(b *bench) {
	page := os.Getpagesize()
	for _, size := range []int{1, 7, page - 1, page, page + 1, 1 << 20} {
		o, m := b.create(b.object(size))
		if i := bytes.IndexFunc(m.Bytes, func(r rune) bool { return r != 0 }); i >= 0 {
			b.Errorf("size %d: byte %d is not zero", size, i)
		}
		m.Bytes[0], m.Bytes[size-1] = 1, 2
		again := b.attach(o, dsmimpl.ReadWrite)
		if len(again.Bytes) != size || again.Bytes[size-1] != m.Bytes[size-1] {
			b.Errorf("size %d: attached %d bytes that differ", size, len(again.Bytes))
		}
		b.detach(again, m)
		b.destroy(o)
	}
}

func testShared(b *bench) {
	o, m := b.create(b.object(3 * os.Getpagesize()))
	n := b.attach(o, dsmimpl.ReadWrite)
	if &m.Bytes[0] == &n.Bytes[0] {
		b.Error("two mappings share an address: Detach of one would end both")
	}
	copy(m.Bytes, "written here")
	if !bytes.HasPrefix(n.Bytes, []byte("written here")) {
		b.Error("a write through one mapping does not show in the other")
	}
	b.detach(m)
	copy(n.Bytes, "still here")
	p := b.attach(o, dsmimpl.ReadWrite)
	if !bytes.HasPrefix(p.Bytes, []byte("still here")) {
		b.Error("the bytes did not outlive the creator's mapping")
	}
	b.detach(n, p)
}

func testExclusive(b *bench) {
	o, m := b.create(b.object(100))
	copy(m.Bytes, "first")
	second := o
	second.Word = 0
	if _, _, err := b.Create(context.Background(), second); !errors.Is(err, fs.ErrExist) {
		b.Errorf("Create of a taken name = %v, want fs.ErrExist", err)
	}
	n := b.attach(o, dsmimpl.ReadWrite)
	if !bytes.HasPrefix(n.Bytes, []byte("first")) {
		b.Error("the refused Create changed the object that was there")
	}
	b.detach(m, n)
}

func testMissing(b *bench) {
	o := b.object(100)
	b.wantGone(o)
	b.destroy(o) // a missing object is success
}

func testBadSizes(b *bench) {
	for _, size := range []int{0, -1, -1 << 31} {
		if _, _, err := b.Create(context.Background(), b.object(size)); !errors.Is(err, dsmimpl.ErrSize) {
			b.Errorf("Create of %d bytes = %v, want ErrSize", size, err)
		}
	}
	if ^uint(0)>>32 == 0 {
		return // a machine may have as many bytes as 32 bits can count
	}
	o := b.object(int(^uint(0) >> 1))
	if _, _, err := b.Create(context.Background(), o); !errors.Is(err, dsmimpl.ErrNoSpace) &&
		!errors.Is(err, dsmimpl.ErrSize) {
		b.Errorf("Create of %d bytes = %v, want ErrNoSpace or ErrSize", o.Size, err)
	}
	b.wantGone(o)
}

// testLarge needs address space alone where memory comes when it is touched; where it is reserved it is
// left to those who ask for it.
func testLarge(b *bench) {
	if ^uint(0)>>32 == 0 {
		b.Skip("skipped: addresses of 32 bits")
	}
	if b.Name() != "sysv" && os.Getenv("DSM_TEST_LARGE") == "" {
		b.Skip("skipped: reserves more than 4 GiB; DSM_TEST_LARGE=1 runs it")
	}
	beyond := int64(1) << 32
	size := int(beyond) + 12345
	o, m := b.create(b.object(size))
	m.Bytes[size-1], m.Bytes[beyond] = 'z', 'a'
	n := b.attach(o, dsmimpl.ReadWrite)
	if len(n.Bytes) != size || n.Bytes[size-1] != 'z' || n.Bytes[beyond] != 'a' || n.Bytes[0] != 0 {
		b.Error("bytes beyond 4 GiB are not shared")
	}
	b.detach(m, n)
}

func testDestroy(b *bench) {
	o, m := b.create(b.object(100))
	b.destroy(o)
	copy(m.Bytes, "mapped bytes outlive the object")
	if !bytes.HasPrefix(m.Bytes, []byte("mapped bytes outlive")) {
		b.Error("bytes changed under their mapping")
	}
	b.detach(m)
	b.wantGone(o)
	b.destroy(o) // twice is harmless
}

func testDestroyWithoutWord(b *bench) {
	o, m := b.create(b.object(100))
	b.detach(m)
	o.Word = 0 // the creator was killed before it wrote the word down
	b.destroy(o)
	b.wantGone(o)
}

// read keeps the compiler from dropping a load.
//
//go:noinline
func read(byte) {}

// faults says whether f faults.
func faults(f func()) (fault bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { fault = recover() != nil }()
	f()
	return false
}

func testReadOnly(b *bench) {
	o, m := b.create(b.object(100))
	m.Bytes[0] = 'x'
	n := b.attach(o, dsmimpl.ReadOnly)
	if n.Bytes[0] != 'x' {
		b.Error("a read-only mapping does not show the bytes")
	}
	if !faults(func() { n.Bytes[0] = 'y' }) {
		b.Error("a read-only mapping could be written")
	}
	b.detach(m, n)
}

// testTruthfulSize: size 0 means all there is, and more than there is is an error, not a fault later.
func testTruthfulSize(b *bench) {
	page := os.Getpagesize()
	o, m := b.create(b.object(page + 100))
	all := o
	all.Size = 0
	n := b.attach(all, dsmimpl.ReadWrite)
	if len(n.Bytes) < o.Size || len(n.Bytes) > 2*page {
		b.Errorf("Attach with size 0 gave %d bytes, want %d or that rounded up to pages", len(n.Bytes), o.Size)
	}
	b.detach(n)
	more := o
	more.Size = 3 * page
	if n, err := b.Attach(context.Background(), more, dsmimpl.ReadWrite); err == nil {
		b.Error("Attach of more bytes than there are succeeded")
		b.detach(n)
	}
	b.detach(m)
}

func testCancelled(b *bench) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	o := b.object(64 << 20) // more than one step's work
	if m, word, err := b.Create(ctx, o); err == nil {
		b.Error("Create went through though its context was over")
		b.detach(m)
		o.Word = word
		b.destroy(o)
	}
	b.wantGone(o)
}

func testList(b *bench) {
	l, ok := b.Backend.(dsmimpl.Lister)
	if !ok {
		b.Skip("skipped: this backend can't list")
	}
	want := map[string]bool{}
	where := func(o dsmimpl.Object) string { return b.Backend.(dsmimpl.Locator).Locate(o) }
	for range 3 {
		o, m := b.create(b.object(100))
		b.detach(m)
		want[where(o)] = true
	}
	foreign := b.object(100)
	foreign.Instance = uuid.New()
	foreign, m := b.create(foreign)
	b.detach(m)

	found, err := l.List(context.Background(), b.instance, b.generation)
	if err != nil {
		b.Fatal(err)
	}
	for _, o := range found {
		if !dsmimpl.SameGeneration(o.Generation, b.generation) || o.Row() == 0 || o.Row() > 3 {
			b.Errorf("listed generation %d row %d, want one of the three made", o.Generation, o.Row())
		}
		b.destroy(o)
	}
	if len(found) != len(want) {
		b.Errorf("listed %d objects, want %d", len(found), len(want))
	}
	if found, err = l.List(context.Background(), b.instance, b.generation); err != nil || len(found) != 0 {
		b.Errorf("after they were destroyed List = %v, %v", found, err)
	}
	b.detach(b.attach(foreign, dsmimpl.ReadWrite)) // still there
}

func testGuard(b *bench) {
	g, ok := b.Backend.(dsmimpl.Guarder)
	if !ok {
		b.Skip("skipped: this backend can't guard")
	}
	size := 2 * os.Getpagesize()
	o, m := b.create(b.object(size))
	n := b.attach(o, dsmimpl.ReadWrite) // objects of some systems go with the last mapping
	if err := g.DetachGuarded(m); err != nil {
		b.Fatal(err)
	}
	p := b.attach(o, dsmimpl.ReadWrite)
	if !faults(func() { read(m.Bytes[0]) }) || !faults(func() { read(m.Bytes[size-1]) }) {
		b.Error("a slice kept past DetachGuarded did not fault")
	}
	if err := g.Unguard(m); err != nil {
		b.Error(err)
	}
	b.detach(n, p)
}

func testKeep(b *bench) {
	p, ok := b.Backend.(dsmimpl.Pinner)
	if !ok {
		b.Skip("skipped: objects of this backend need nobody to keep them")
	}
	o, m := b.create(b.object(100))
	m.Bytes[0] = 'k'
	token, err := p.Keep(o)
	if err != nil {
		b.Fatal(err)
	}
	b.detach(m)
	n := b.attach(o, dsmimpl.ReadWrite)
	if n.Bytes[0] != 'k' {
		b.Error("the kept object lost its bytes")
	}
	b.detach(n)
	if err := p.Release(token); err != nil {
		b.Error(err)
	}
	b.wantGone(o)
}

func testConcurrent(b *bench) {
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for round := range 20 {
				o := b.object(1 + rand.IntN(3*os.Getpagesize()))
				m, word, err := b.Create(context.Background(), o)
				if err != nil {
					b.Error(err)
					return
				}
				o.Word = word
				text := fmt.Sprintf("%d/%d", worker, round)
				k := copy(m.Bytes, text)
				n, err := b.Attach(context.Background(), o, dsmimpl.ReadWrite)
				if err != nil {
					b.Error(err)
				} else if string(n.Bytes[:k]) != text[:k] {
					b.Errorf("read %q, want %q", n.Bytes[:k], text[:k])
				}
				b.detach(m, n)
				b.destroy(o)
			}
		})
	}
	wg.Wait()
}

func testNoResidue(b *bench) {
	cycle := func() {
		o, m := b.object(5000), dsmimpl.Mapping{}
		m, word, err := b.Create(context.Background(), o)
		if err != nil {
			b.Fatal(err)
		}
		o.Word = word
		b.detach(b.attach(o, dsmimpl.ReadWrite), m)
		b.destroy(o)
	}
	cycle()
	before := leaktest.Now()
	for range 300 {
		cycle()
	}
	if after := leaktest.Now(); after != before {
		b.Errorf("300 cycles went from %+v to %+v", before, after)
	}
}
