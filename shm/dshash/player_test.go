package dshash_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
)

func init() { proctest.Register("player", player) }

// player plays with its share of the keys, beside a model, and looks at those of others: DIR AREA TABLE BYTES ID
// PLAYERS. After each line it says how many entries are its own.
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

// TestPlayers: four processes, each with a model of its share; in the pauses the numbers are exact, and
// in the end nothing is left.
func TestPlayers(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		w, args := makeWorld(t, backend, dsa.Options{Keep: -1}, 8)
		var players [4]*proctest.Process
		for i := range players {
			players[i] = proctest.Start(t, "player", append(args, strconv.Itoa(i), "4")...)
			players[i].Expect("ready")
		}
		rounds, turns := 4, "3000"
		if testing.Short() {
			rounds, turns = 1, "1000"
		}
		for range rounds {
			for _, p := range players {
				p.Send(turns)
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
