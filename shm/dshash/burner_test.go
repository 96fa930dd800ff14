package dshash_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/godsm/godsm/internal/testing/proctest"
)

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
	return untilTold(c, func() error { return w.burn(rnd) })
}

// untilTold says that it begins, and does step again and again until its input ends. At a line it says that line, and
// rests until the next.
func untilTold(c *proctest.Child, step func() error) error {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for {
			line, ok := c.Hear()
			if !ok {
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
		if err := step(); err != nil {
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
