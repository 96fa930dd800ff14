package area_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
)

// A ledger lies in the area and lists the objects that a process has: entered after Alloc has returned,
// crossed out before Free is called. No process is killed in between, so after a kill inside a call exactly the
// objects in the ledger are there. From places to gifts its words own their objects: there a kill at any
// instruction loses nothing.
type ledger []atomic.Uint64

const (
	entries = 4096
	places  = 2000
	gifts   = 2048 // from there on, what the victim finds
	burned  = 1024 // before that, what burners have
)

func ledgerAt(a *dsa.Area, p dsa.Pointer) (ledger, error) {
	b, err := a.Bytes(p)
	if err != nil {
		return nil, err
	}
	return shm.SliceOf[atomic.Uint64](shm.NewRegion(b), 0, entries)
}

// edges are some places of an object of n bytes; to fill it all would take so long that no kill hits anything else.
func edges(n int) []int { return []int{0, n / 3, n / 2, n - n/8 - 1, n - 1} }

// alloc allocates an object as entry i, in the place of what is there.
func (l ledger) alloc(a *dsa.Area, i, n int) error {
	if err := l.free(a, i); err != nil {
		return err
	}
	p, err := a.Alloc(n)
	if err != nil {
		return err
	}
	b, err := a.Bytes(p)
	if err != nil || len(b) != n {
		return fmt.Errorf("%d bytes, %w", len(b), err)
	}
	for _, k := range edges(n) {
		b[k] = byte(p >> 4)
	}
	if !l[i].CompareAndSwap(0, uint64(p)) { // another process was faster
		return a.Free(p)
	}
	return nil
}

func (l ledger) free(a *dsa.Area, i int) error {
	if i >= places && i < gifts {
		p := dsa.Pointer(l[i].Swap(0))
		if p == 0 {
			return nil
		}
		return a.Free(p)
	}
	p := dsa.Pointer(l[i].Swap(0))
	if p == 0 {
		return nil
	}
	b, err := a.Bytes(p)
	if err != nil {
		return err
	}
	for _, k := range edges(len(b)) {
		if b[k] != byte(p>>4) {
			return fmt.Errorf("byte %d of %d at %v is %d", k, len(b), p, b[k])
		}
	}
	return a.Free(p)
}

func (l ledger) count() (n int) {
	for i := range l {
		if l[i].Load() != 0 {
			n++
		}
	}
	return n
}

var kills = flag.Int("kills", 20, "how many processes TestKilledUnderLoad kills on each backend")

const most = 32 << 20 // bytes of the area: tests may take no more of the shm mount

func init() { proctest.Register("burner", burner) }

// burner allocates and frees at random for ever, any of some entries of the ledger, its own and others': DIR HANDLE
// LEDGER SEED. It says how far it has come.
func burner(c *proctest.Child) error {
	s, a, err := inArea(c)
	if err != nil {
		return err
	}
	defer s.Close()
	p, err := strconv.ParseUint(c.Args[2], 10, 64)
	if err != nil {
		return err
	}
	l, err := ledgerAt(a, dsa.Pointer(p))
	if err != nil {
		return err
	}
	seed, _ := strconv.Atoi(c.Args[3])
	rnd := rand.New(rand.NewPCG(uint64(seed), 2))
	for {
		for range 500 {
			i := rnd.IntN(burned)
			if rnd.IntN(3) > 0 {
				err = l.free(a, i)
			} else {
				n := 1 + rnd.IntN(16<<rnd.IntN(11))
				if rnd.IntN(300) == 0 {
					n = 300 << 10 // with chunks of its own
				}
				err = l.alloc(a, i, n)
			}
			if err != nil {
				return err
			}
		}
		c.Say("on")
	}
}

// TestKilledUnderLoad kills processes at any instruction while they and others work on the same area. The others
// go on; each kill loses at most the object that was between its ledger and its pointer.
func TestKilledUnderLoad(t *testing.T) {
	n := *kills
	if testing.Short() {
		n = min(n, 6)
	}
	instancetest.Each(t, func(t *testing.T, backend string) { killUnderLoad(t, backend, n) })
}

func killUnderLoad(t *testing.T, backend string, n int) {
	cfg := instancetest.Config(t, backend)
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	limit := most + int64(max(n-100, 0))*100<<10 // for what the programs lose, a third of the time
	a, err := area.Create(ctx, s, s.Owner(),
		dsa.Options{Initial: 512 << 10, MaxSegment: 2 << 20, Limit: limit, Keep: -1, Sessions: 64})
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.AllocZeroed(entries * 8)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledgerAt(a, p)
	if err != nil {
		t.Fatal(err)
	}
	var burners [3]*proctest.Process
	start := func(i, seed int) {
		burners[i] = proctest.Start(t, "burner",
			cfg.Dir, area.Handle(a).String(), fmt.Sprint(uint64(p)), strconv.Itoa(seed))
		burners[i].Expect("on")
	}
	for i := range burners {
		start(i, i)
	}
	lost := 0
	peak := int64(0)
	for kill := range n {
		i := kill % len(burners)
		burners[i].Kill()
		for range 3 {
			burners[(i+1)%len(burners)].Expect("on") // whichever burner died
		}
		if err := l.free(a, rand.IntN(burned)); err != nil {
			t.Fatal(err)
		}
		lost += clean(t, a).Lost
		peak = max(peak, a.Total())
		start(i, kill+100)
	}
	for _, b := range burners {
		b.Kill()
	}
	instancetest.Eventually(t, "the last of them is noticed", func() bool { return clean(t, a).Sessions == 1 })
	rep := clean(t, a)
	leaked := rep.Objects - 1 - l.count()
	if leaked < 0 || leaked > n+len(burners) {
		t.Errorf("%d objects beside the ledger's, after %d kills", leaked, n+len(burners))
	}
	for i := range l {
		if err := l.free(a, i); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Trim(ctx); err != nil {
		t.Fatal(err)
	}
	if rep := clean(t, a); rep.Objects != leaked+1 {
		t.Errorf("%d objects in the end, not %d", rep.Objects, leaked+1)
	}
	t.Logf("%d kills: %d objects were in hands of the dead and were freed, "+
		"%d were the programs' to lose; at most %d MB", n, lost, leaked, peak>>20)
	if err := a.Detach(); err != nil {
		t.Error(err)
	}
}
