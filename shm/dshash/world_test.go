package dshash_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// sealed is a value that shows whether it is whole.
type sealed [5]uint64

func seal(n uint64) (v sealed) {
	for i := range v[:4] {
		v[i] = n * uint64(2*i+1)
	}
	v[4] = v.sum()
	return v
}

func (v *sealed) sum() uint64 {
	h := crc32.NewIEEE()
	_ = binary.Write(h, binary.NativeEndian, v[:4])
	return uint64(h.Sum32()) + 1
}

func (v *sealed) check() error {
	if v[4] != v.sum() {
		return fmt.Errorf("torn: %x", *v)
	}
	return nil
}

// text is such a value of any length, from 4 bytes to some thousand.
func text(n uint64) []byte {
	b := make([]byte, 4, 4+int(n%300)*int(1+n%13))
	for i := range cap(b) - 4 {
		b = append(b, byte(n>>(i%8*8)))
	}
	binary.NativeEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	return b
}

func checkText(b []byte) error {
	if len(b) < 4 || binary.NativeEndian.Uint32(b) != crc32.ChecksumIEEE(b[4:]) {
		return fmt.Errorf("torn: %d bytes, %x", len(b), b)
	}
	return nil
}

func name(k uint64) []byte { return fmt.Appendf(nil, "%0*d", int(k%50)+1, k) }

// world is two tables in an area of a session.
type world struct {
	area *dsa.Area
	tab  *dshash.Table[uint64, sealed]
	bs   *dshash.Bytes
}

// found attaches what the test has made: DIR AREA TABLE BYTES.
func found(args []string) (w world, s *dsm.Session, err error) {
	if s, err = dsm.Open(ctx, dsm.Config{Dir: args[0]}); err != nil {
		return w, nil, err
	}
	h, err := dsm.ParseHandle(args[1])
	if err != nil {
		return w, s, err
	}
	var tab, bs dsa.Pointer
	if _, err := fmt.Sscan(args[2]+" "+args[3], (*uint64)(&tab), (*uint64)(&bs)); err != nil {
		return w, s, err
	}
	if w.area, err = area.Attach(ctx, s, s.Owner(), h); err != nil {
		return w, s, err
	}
	if w.tab, err = dshash.Attach[uint64, sealed](w.area, tab, dshash.Options{}); err != nil {
		return w, s, err
	}
	w.bs, err = dshash.AttachBytes(w.area, bs, dshash.Options{})
	return w, s, err
}

// makeWorld makes the tables in an instance of its own; args are for found.
func makeWorld(t testing.TB, backend string, o dsa.Options, partitions int) (w world, args []string) {
	t.Helper()
	cfg := instancetest.Config(t, backend)
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	var err error
	w.area, err = area.Create(ctx, s, s.Owner(), o)
	must(t, err)
	w.tab, err = dshash.Create[uint64, sealed](w.area, dshash.Options{Partitions: partitions})
	must(t, err)
	w.bs, err = dshash.CreateBytes(w.area, dshash.Options{Partitions: partitions})
	must(t, err)
	return w, []string{
		cfg.Dir, area.Handle(w.area).String(), fmt.Sprint(uint64(w.tab.Handle())), fmt.Sprint(uint64(w.bs.Handle())),
	}
}

// end destroys the tables, and nothing is left.
func (w world) end(t testing.TB) {
	t.Helper()
	must(t, w.tab.Destroy(ctx))
	must(t, w.bs.Destroy(ctx))
	clean(t, w.area, 0)
	must(t, w.area.Detach())
}

// whole looks at every value.
func (w world) whole(t testing.TB) {
	t.Helper()
	n := 0
	for e, err := range w.tab.Scan(ctx, false) {
		must(t, err)
		must(t, e.Value().check())
		n++
	}
	if n != w.tab.Len() {
		t.Errorf("%d entries are there, and %d counted", n, w.tab.Len())
	}
	for e, err := range w.bs.Scan(ctx, false) {
		must(t, err)
		must(t, checkText(e.Value()))
	}
}
