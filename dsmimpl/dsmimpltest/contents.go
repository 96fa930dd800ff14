package dsmimpltest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime/debug"

	"github.com/godsm/godsm/dsmimpl"
)

// What an object holds: as many bytes as were asked for, zero at first, the same for all.

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

// read keeps the compiler from dropping a load.
//
//go:noinline
func read(byte) {}

// faults reports whether f faults.
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

// testTruthfulSize checks that size 0 means all there is, and that more than there is is an error, not a fault later.
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
