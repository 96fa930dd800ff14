package dshash_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/instancetest"
	"github.com/godsm/godsm/internal/proctest"
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
	return w, []string{cfg.Dir, area.Handle(w.area).String(), fmt.Sprint(uint64(w.tab.Handle())), fmt.Sprint(uint64(w.bs.Handle()))}
}

// end destroys the tables, and nothing is left.
func (w world) end(t testing.TB) {
	t.Helper()
	must(t, w.tab.Destroy(ctx))
	must(t, w.bs.Destroy(ctx))
	clean(t, w.area, 0)
	must(t, w.area.Detach())
}

func init() { proctest.Register("player", player) }

// player plays with its share of the keys, beside a model, and looks at those of others: DIR AREA TABLE BYTES ID PLAYERS. After each line it says how
// many entries are its own.
func player(c *proctest.Child) error {
	w, s, err := found(c.Args)
	if err != nil {
		return err
	}
	defer s.Close()
	id, _ := strconv.ParseUint(c.Args[4], 10, 64)
	players, _ := strconv.ParseUint(c.Args[5], 10, 64)
	rnd := rand.New(rand.NewPCG(id, 3))
	model := map[uint64]uint64{}
	c.Say("ready")
	for {
		line, ok := c.Hear()
		if !ok {
			return nil
		}
		rounds, err := strconv.Atoi(line)
		if err != nil {
			return err
		}
		for range rounds {
			if err := w.turn(rnd, model, id, players); err != nil {
				return err
			}
		}
		c.Say("has %d", len(model))
	}
}

func (w world) turn(rnd *rand.Rand, model map[uint64]uint64, id, players uint64) error {
	const width = 500
	any := rnd.Uint64N(width * players)
	if v, found, err := w.tab.Get(ctx, any); err != nil || found && v.check() != nil {
		return fmt.Errorf("another's: %v, %v", err, v.check())
	}
	if b, found, err := w.bs.Get(ctx, name(any), nil); err != nil || found && checkText(b) != nil {
		return fmt.Errorf("another's: %v, %v", err, checkText(b))
	}
	k, n := rnd.Uint64N(width)*players+id, rnd.Uint64()
	old, there := model[k]
	want := sealed{}
	if there {
		want = seal(old)
	}
	switch rnd.IntN(6) {
	case 0, 1:
		model[k] = n
		if err := w.tab.Set(ctx, k, seal(n)); err != nil {
			return err
		}
		return w.bs.Set(ctx, name(k), text(n))
	case 2:
		delete(model, k)
		a, err := w.tab.Delete(ctx, k)
		if a != there || err != nil {
			return fmt.Errorf("delete %d: %v, not %v, %v", k, a, there, err)
		}
		if a, err = w.bs.Delete(ctx, name(k)); a != there || err != nil {
			return fmt.Errorf("delete %d: %v, not %v, %v", k, a, there, err)
		}
		return nil
	case 3:
		e, found, err := w.tab.Insert(ctx, k)
		if err != nil {
			return err
		}
		defer e.Release()
		if found != there || *e.Value() != want {
			return fmt.Errorf("insert %d: %v, not %v, %x", k, found, there, *e.Value())
		}
		v, err := e.Update()
		if err != nil {
			return err
		}
		b, found, err := w.bs.Insert(ctx, name(k), 0)
		if err != nil {
			return err
		}
		defer b.Release()
		if found != there {
			return fmt.Errorf("insert %d: %v, not %v", k, found, there)
		}
		t := text(n)
		to, err := b.Update(len(t))
		if err != nil {
			return err
		}
		*v = seal(n)
		copy(to, t)
		model[k] = n
		return nil
	case 4:
		e, found, err := w.tab.Find(ctx, k)
		defer e.Release()
		if err != nil || found != there || found && *e.Value() != want {
			return fmt.Errorf("find %d: %v, not %v, %v", k, found, there, err)
		}
		return nil
	}
	if rnd.IntN(200) == 0 {
		return w.scan(rnd, model, id, players)
	}
	v, found, err := w.tab.Get(ctx, k)
	if err != nil || found != there || v != want {
		return fmt.Errorf("get %d: %v, not %v, %v: %x, not %x", k, found, there, err, v, want)
	}
	b, found, err := w.bs.Get(ctx, name(k), nil)
	if err != nil || found != there || found && string(b) != string(text(old)) {
		return fmt.Errorf("get %d: %v, not %v, %v: %x", k, found, there, err, b)
	}
	return nil
}

// scan sees each of its own entries once, and deletes some.
func (w world) scan(rnd *rand.Rand, model map[uint64]uint64, id, players uint64) error {
	seen := map[uint64]bool{}
	for e, err := range w.tab.Scan(ctx, true) {
		if err != nil {
			return err
		}
		k, v := e.Key(), e.Value()
		if err := v.check(); err != nil {
			return err
		}
		if k%players != id {
			continue
		}
		if n, there := model[k]; seen[k] || !there || *v != seal(n) {
			return fmt.Errorf("scan: %d: seen %v, there %v", k, seen[k], there)
		}
		seen[k] = true
	}
	if len(seen) != len(model) {
		return fmt.Errorf("scan: %d of %d", len(seen), len(model))
	}
	for e, err := range w.tab.Scan(ctx, true) {
		if err != nil {
			return err
		}
		if k := e.Key(); k%players == id && rnd.IntN(4) > 0 {
			delete(model, k)
			if err := e.Delete(); err != nil {
				return err
			}
		}
	}
	for e, err := range w.bs.Scan(ctx, true) {
		if err != nil {
			return err
		}
		if err := checkText(e.Value()); err != nil {
			return err
		}
		var k uint64
		if _, err := fmt.Sscanf(string(e.Key()), "%d", &k); err != nil {
			return err
		}
		if _, there := model[k]; k%players == id && !there {
			if err := e.Delete(); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestPlayers: four processes, each with a model of its share; in the pauses the numbers are exact, and in the end nothing is left.
func TestPlayers(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		w, args := makeWorld(t, backend, dsa.Options{Keep: -1}, 8)
		var players [4]*proctest.Process
		for i := range players {
			players[i] = proctest.Start(t, "player", append(args, strconv.Itoa(i), "4")...)
			players[i].Expect("ready")
		}
		rounds := 4
		if testing.Short() {
			rounds = 1
		}
		for range rounds {
			for _, p := range players {
				p.Send("3000")
			}
			all := 0
			for _, p := range players {
				n, _ := strconv.Atoi(p.Expect("has"))
				all += n
			}
			if n := clean(t, w.area, 0, w.tab, w.bs); n != 2*all || w.tab.Len() != all {
				t.Errorf("%d and %d entries, not 2 x %d", n, w.tab.Len(), all)
			}
		}
		for _, p := range players {
			must(t, p.Close())
		}
		w.end(t)
	})
}

func init() { proctest.Register("burner", burner) }

// burner does anything with any key until it is killed, or, at a line, rests until the next: DIR AREA TABLE BYTES SEED.
func burner(c *proctest.Child) error {
	w, s, err := found(c.Args)
	if err != nil {
		return err
	}
	defer s.Close()
	seed, _ := strconv.ParseUint(c.Args[4], 10, 64)
	rnd := rand.New(rand.NewPCG(seed, 4))
	lines := make(chan string)
	go func() {
		for {
			line, ok := c.Hear()
			if !ok {
				close(lines)
				return
			}
			lines <- line
		}
	}()
	c.Say("on")
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return nil
			}
			c.Say("%s", line)
			if _, ok = <-lines; !ok {
				return nil
			}
		default:
		}
		if err := w.burn(rnd); err != nil {
			return err
		}
	}
}

func (w world) burn(rnd *rand.Rand) error {
	k, n := rnd.Uint64N(600), rnd.Uint64()
	switch rnd.IntN(6) {
	case 0:
		if err := w.tab.Set(ctx, k, seal(n)); err != nil {
			return err
		}
		return w.bs.Set(ctx, name(k), text(n))
	case 1, 2:
		if _, err := w.tab.Delete(ctx, k); err != nil {
			return err
		}
		_, err := w.bs.Delete(ctx, name(k))
		return err
	case 3:
		e, found, err := w.tab.Insert(ctx, k)
		if err != nil {
			return err
		}
		defer e.Release()
		if found {
			if err := e.Value().check(); err != nil {
				return err
			}
		}
		v, err := e.Update()
		if err != nil {
			return err
		}
		*v = seal(n)
		b, found, err := w.bs.Insert(ctx, name(k), len(text(n)))
		if err != nil {
			return err
		}
		defer b.Release()
		if found {
			if err := checkText(b.Value()); err != nil {
				return err
			}
		}
		to, err := b.Update(len(text(n)))
		copy(to, text(n))
		return err
	}
	v, found, err := w.tab.Get(ctx, k)
	if err != nil || found && v.check() != nil {
		return fmt.Errorf("%v, %v", err, v.check())
	}
	b, found, err := w.bs.Get(ctx, name(k), nil)
	if err != nil || found && checkText(b) != nil {
		return fmt.Errorf("%v, %v", err, checkText(b))
	}
	return nil
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
