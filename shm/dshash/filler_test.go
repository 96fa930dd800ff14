package dshash_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
)

func init() { proctest.Register("filler", filler) }

// placesEach is how many words of a filler own objects, and fillers is how many of those there are.
const (
	placesEach = 32
	fillers    = 3
)

// filler fills the tables and words of its own until there is no memory, updates, and empties them, in turn, until it is
// killed; at a line it rests until the next: DIR AREA TABLE BYTES WORDS INDEX SEED.
func filler(c *proctest.Child) error {
	w, s, err := found(c.Args)
	if err != nil {
		return err
	}
	defer s.Close()
	var words dsa.Pointer
	if _, err := fmt.Sscan(c.Args[4], (*uint64)(&words)); err != nil {
		return err
	}
	index, _ := strconv.Atoi(c.Args[5])
	seed, _ := strconv.ParseUint(c.Args[6], 10, 64)
	f := filling{world: w, rnd: rand.New(rand.NewPCG(seed, 5))}
	for k := range f.places {
		if f.places[k], err = w.area.Place(words, (index*placesEach+k)*8); err != nil {
			return err
		}
	}
	return untilTold(c, f.step)
}

// filling is a filler's state: it fills until it was refused, and then empties as many entries as it has drawn.
type filling struct {
	world
	rnd      *rand.Rand
	places   [placesEach]dsa.Place
	emptying int
}

// size is of values and objects: most are short, some are so long that the table's reserve follows them.
func (f *filling) size() int {
	switch f.rnd.IntN(40) {
	case 0:
		return 40_000 + f.rnd.IntN(400_000)
	case 1, 2, 3:
		return f.rnd.IntN(30_000)
	}
	return f.rnd.IntN(3000)
}

// step makes one change. Only what needs memory may be refused, and an update of the same size is not.
func (f *filling) step() error {
	k, n := f.rnd.Uint64N(3000), f.rnd.Uint64()
	if f.emptying > 0 {
		f.emptying--
		return f.empty(k)
	}
	err := error(nil)
	switch f.rnd.IntN(8) {
	case 0:
		err = f.tab.Set(ctx, k, seal(n))
	case 1:
		at := f.places[f.rnd.IntN(placesEach)]
		if at.Pointer() != 0 {
			return f.area.FreeFrom(at)
		}
		err = f.area.AllocInto(1+f.size(), at)
	case 2, 3:
		return missing(
			f.bs.Update(ctx, name(k), func(v []byte, existed bool) ([]byte, error) {
				if !existed {
					return nil, errOwn
				}
				return summed(n, len(v)), checkSum(v)
			}),
			f.tab.Update(ctx, k, func(v *sealed, existed bool) error {
				if !existed {
					return errOwn
				}
				err := v.check()
				*v = seal(n)
				return err
			}))
	default:
		err = f.bs.Set(ctx, name(k), summed(n, f.size()))
	}
	if errors.Is(err, dsa.ErrNoMemory) {
		f.emptying, err = f.rnd.IntN(2000), nil
	}
	return err
}

// missing returns the errors but those of entries that were not there.
func missing(errs ...error) (err error) {
	for _, e := range errs {
		if !errors.Is(e, errOwn) {
			err = errors.Join(err, e)
		}
	}
	return err
}

func (f *filling) empty(k uint64) error {
	at := f.places[k%placesEach]
	if at.Pointer() != 0 {
		if err := f.area.FreeFrom(at); err != nil {
			return err
		}
	}
	_, err := f.tab.Delete(ctx, k)
	_, berr := f.bs.Delete(ctx, name(k))
	if f.rnd.IntN(500) == 0 {
		err = errors.Join(err, f.area.Trim(ctx))
	}
	return errors.Join(err, berr)
}

// summed is a value of n bytes that shows whether it is whole; one of less than 4 bytes has no sum.
func summed(seed uint64, n int) []byte {
	b := make([]byte, n)
	if n < 4 {
		return b
	}
	for i := 4; i+8 <= n; i += 1 + i/2 {
		binary.NativeEndian.PutUint64(b[i:], seed^uint64(i))
	}
	binary.NativeEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	return b
}

func checkSum(b []byte) error {
	if len(b) >= 4 && binary.NativeEndian.Uint32(b) != crc32.ChecksumIEEE(b[4:]) {
		return fmt.Errorf("torn: %d bytes", len(b))
	}
	return nil
}
