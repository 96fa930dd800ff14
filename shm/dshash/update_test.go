package dshash_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"runtime"
	"sync"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

var errOwn = errors.New("the function's own")

// updater is Update of a table whose key 1 has a value and whose key 2 has none.
type updater struct {
	update func(key byte, f func() error) error
	value  func(key byte) (n byte, found bool)
	table  verifier
}

func updaters(t *testing.T, a *dsa.Area) map[string]updater {
	word, err := dshash.Create[uint64, uint64](a, dshash.Options{Partitions: 2})
	must(t, err)
	wide, err := dshash.Create[uint64, sealed](a, dshash.Options{Partitions: 2})
	must(t, err)
	bs, err := dshash.CreateBytes(a, dshash.Options{Partitions: 2})
	must(t, err)
	must(t, word.Set(ctx, 1, 100))
	must(t, wide.Set(ctx, 1, sealed{100}))
	must(t, bs.Set(ctx, []byte{1}, bytes.Repeat([]byte{100}, 50)))
	return map[string]updater{
		"word": {
			func(key byte, f func() error) error {
				return word.Update(ctx, uint64(key), func(v *uint64, existed bool) error {
					if existed != (*v != 0) {
						t.Errorf("existed %v, and the value is %d", existed, *v)
					}
					*v++
					return f()
				})
			},
			func(key byte) (byte, bool) { v, found, _ := word.Get(ctx, uint64(key)); return byte(v), found }, word,
		},
		"struct": {
			func(key byte, f func() error) error {
				return wide.Update(ctx, uint64(key), func(v *sealed, existed bool) error { v[0]++; return f() })
			},
			func(key byte) (byte, bool) { v, found, _ := wide.Get(ctx, uint64(key)); return byte(v[0]), found }, wide,
		},
		"bytes": {
			func(key byte, f func() error) error {
				return bs.Update(ctx, []byte{key}, func(v []byte, existed bool) ([]byte, error) {
					if existed != (v != nil) {
						t.Errorf("existed %v, and the value is %v", existed, v)
					}
					n := byte(1)
					if existed {
						n += v[0]
					}
					return bytes.Repeat([]byte{n}, len(v)+20), f()
				})
			},
			func(key byte) (byte, bool) {
				v, found, _ := bs.Get(ctx, []byte{key}, nil)
				return append(v, 0)[0], found
			}, bs,
		},
	}
}

// TestUpdateEveryWayOut: what the function leaves is the entry's if it returns nil, and nothing has changed otherwise.
func TestUpdateEveryWayOut(t *testing.T) {
	for way, out := range map[string]func() error{
		"return": func() error { return nil },
		"fail":   func() error { return errOwn },
		"panic":  func() error { panic(errOwn) },
		"goexit": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(way, func(t *testing.T) {
			a := heap(t, dsa.Options{})
			var tables []verifier
			for name, u := range updaters(t, a) {
				for key := byte(1); key <= 2; key++ {
					before, existed := u.value(key)
					outcome := make(chan error, 1)
					go func() {
						var err error
						defer func() { _ = recover(); outcome <- err }()
						err = u.update(key, out)
					}()
					if err := <-outcome; (way == "fail") != errors.Is(err, errOwn) || way == "return" && err != nil {
						t.Errorf("%s: Update of %d = %v", name, key, err)
					}
					now, exists := u.value(key)
					switch changed := way == "return"; {
					case changed && (now != before+1 || !exists):
						t.Errorf("%s: key %d has %d (%v) after %d", name, key, now, exists, before)
					case !changed && (now != before || exists != existed):
						t.Errorf("%s: key %d has changed from %d (%v) to %d (%v)", name, key, before, existed, now, exists)
					}
					if err := u.update(key, func() error { return nil }); err != nil { // nothing is locked
						t.Errorf("%s: afterwards: %v", name, err)
					}
				}
				tables = append(tables, u.table)
			}
			clean(t, a, 0, tables...)
		})
	}
}

func TestUpdateOfManyIsAtomic(t *testing.T) {
	a := heap(t, dsa.Options{})
	tab, err := dshash.Create[uint64, sealed](a, dshash.Options{Partitions: 1})
	must(t, err)
	bs, err := dshash.CreateBytes(a, dshash.Options{Partitions: 1})
	must(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				if err := errors.Join(
					tab.Update(ctx, uint64(i%7), func(v *sealed, _ bool) error { v[i%5]++; return nil }),
					bs.Update(ctx, name(uint64(i%7)), func(v []byte, _ bool) ([]byte, error) { return append(v, 'x'), nil }),
				); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	sum, long := uint64(0), 0
	for x, err := range tab.All(ctx) {
		must(t, err)
		for _, n := range x.Value {
			sum += n
		}
	}
	for x, err := range bs.All(ctx) {
		must(t, err)
		long += len(x.Value)
	}
	if sum != 8*500 || long != 8*500 {
		t.Errorf("%d and %d of %d updates have been made", sum, long, 8*500)
	}
	clean(t, a, 0, tab, bs)
}

func TestUpdateRefusals(t *testing.T) {
	a := heap(t, dsa.Options{Limit: 4 << 20})
	tab, err := dshash.Create[uint64, uint64](a, dshash.Options{})
	must(t, err)
	bs, err := dshash.CreateBytes(a, dshash.Options{})
	must(t, err)
	long := make([]byte, 8<<20)
	over, cancel := context.WithCancel(ctx)
	cancel()
	holds, found, err := tab.Insert(ctx, 1)
	if must(t, err); found {
		t.Fatal("found in an empty table")
	}
	for what, c := range map[string]struct{ err, want error }{
		"no function":        {tab.Update(ctx, 1, nil), fs.ErrInvalid},
		"no function, bytes": {bs.Update(ctx, nil, nil), fs.ErrInvalid},
		"a context that is over": {tab.Update(over, 1, func(*uint64, bool) error { t.Error("called"); return nil }),
			context.Canceled},
		"no memory": {bs.Update(ctx, []byte("k"), func([]byte, bool) ([]byte, error) { return long, nil }), dsa.ErrNoMemory},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", what, c.err, c.want)
		}
	}
	holds.Release()
	if tab.Len() != 1 || bs.Len() != 0 {
		t.Errorf("%d and %d entries", tab.Len(), bs.Len())
	}
}

// TestUpdateOverTheEnd: a function in which the area ends changes nothing, and Update is ErrClosed.
func TestUpdateOverTheEnd(t *testing.T) {
	var h dsa.Heap
	a, err := dsa.Create(ctx, &h, self(1), dsa.Options{Sessions: 2})
	must(t, err)
	b, err := dsa.Attach(ctx, &h, self(2), a.Handle())
	must(t, err)
	tab, err := dshash.Create[uint64, sealed](a, dshash.Options{})
	must(t, err)
	other, err := dshash.Attach[uint64, sealed](b, tab.Handle(), dshash.Options{})
	must(t, err)
	err = tab.Update(ctx, 1, func(v *sealed, _ bool) error { v[0] = 1; return a.Detach() })
	if !errors.Is(err, dsa.ErrClosed) {
		t.Errorf("Update = %v", err)
	}
	must(t, other.Update(ctx, 1, func(v *sealed, existed bool) error {
		if existed {
			t.Errorf("an update after the end was made: %v", v)
		}
		v[0] = 2
		return nil
	}))
	clean(t, b, 0, other)
	must(t, b.Detach())
}

func init() { proctest.Register("updater", dieUpdating) }

// dieUpdating says that it is inside of an Update, and stays there: DIR AREA TABLE BYTES.
func dieUpdating(c *proctest.Child) error {
	w, s, err := found(c.Args)
	if err != nil {
		return err
	}
	defer s.Close()
	return w.tab.Update(ctx, 1, func(v *sealed, existed bool) error {
		*v = sealed{}
		c.Say("inside")
		c.Hear()
		return nil
	})
}

// TestUpdateDeathInside: a process that is killed in the function has changed nothing, and no session waits for it.
func TestUpdateDeathInside(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		w, args := makeWorld(t, backend, dsa.Options{}, 1)
		must(t, w.tab.Set(ctx, 1, seal(7)))
		p := proctest.Start(t, "updater", args...)
		p.Expect("inside")
		p.Kill()
		must(t, w.tab.Update(ctx, 1, func(v *sealed, existed bool) error {
			if *v != seal(7) || !existed {
				t.Errorf("the value is %x (%v)", v, existed)
			}
			*v = seal(8)
			return nil
		}))
		w.whole(t)
		w.end(t)
	})
}

// TestAllAndKeys: both yield each entry once, hold no lock in the loop's body, and stop when the body does.
func TestAllAndKeys(t *testing.T) {
	a := heap(t, dsa.Options{})
	tab, err := dshash.Create[uint64, sealed](a, dshash.Options{Partitions: 4})
	must(t, err)
	bs, err := dshash.CreateBytes(a, dshash.Options{Partitions: 4})
	must(t, err)
	const n = 300
	for k := range uint64(n) {
		must(t, tab.Set(ctx, k, seal(k)))
		must(t, bs.Set(ctx, name(k), text(k)))
	}
	seen := map[uint64]int{}
	for x, err := range tab.All(ctx) {
		must(t, err)
		if seen[x.Key]++; x.Value != seal(x.Key) {
			t.Errorf("%d has %x", x.Key, x.Value)
		}
		must(t, tab.Set(ctx, x.Key, x.Value)) // nothing is locked
	}
	for k, err := range tab.Keys(ctx) {
		must(t, err)
		seen[k]++
	}
	texts := map[string]int{}
	for x, err := range bs.All(ctx) {
		must(t, err)
		texts[string(x.Key)]++
		must(t, checkText(x.Value))
		must(t, bs.Set(ctx, x.Key, x.Value))
	}
	for k, err := range bs.Keys(ctx) {
		must(t, err)
		texts[string(k)]++
	}
	for k := range uint64(n) {
		if seen[k] != 2 || texts[string(name(k))] != 2 {
			t.Errorf("%d came %d and %d times", k, seen[k], texts[string(name(k))])
		}
	}
	count := 0
	for range tab.All(ctx) {
		if count++; count == 5 {
			break
		}
	}
	over := make(chan bool)
	go func() {
		defer func() { recover(); over <- true }()
		for range bs.Keys(ctx) {
			panic("the body")
		}
	}()
	<-over
	go func() {
		defer func() { over <- true }()
		for range tab.All(ctx) {
			runtime.Goexit()
		}
	}()
	<-over
	gone, cancel := context.WithCancel(ctx)
	cancel()
	e, _, err := tab.FindExclusive(ctx, 1)
	must(t, err)
	var last error
	for _, err := range tab.All(gone) {
		last = err
	}
	if e.Release(); !errors.Is(last, context.Canceled) {
		t.Errorf("All with a context that is over, while an entry is held: %v", last)
	}
	if clean(t, a, 0, tab, bs) != 2*n {
		t.Error("entries are missing")
	}
}

// TestAllOverTheEnd: the end of the area ends the loop with ErrClosed, and no zeros are yielded for entries.
func TestAllOverTheEnd(t *testing.T) {
	var h dsa.Heap
	a, err := dsa.Create(ctx, &h, self(1), dsa.Options{})
	must(t, err)
	tab, err := dshash.Create[uint64, uint64](a, dshash.Options{Partitions: 4})
	must(t, err)
	for k := range uint64(100) {
		must(t, tab.Set(ctx, k+1, k+1))
	}
	n := 0
	var last error
	for x, err := range tab.All(ctx) {
		if last = err; err == nil && (x.Key == 0 || x.Value != x.Key) {
			t.Errorf("%d has %d", x.Key, x.Value)
		}
		if n++; n == 10 {
			must(t, a.Detach())
		}
	}
	if !errors.Is(last, dsa.ErrClosed) || n < 11 {
		t.Errorf("after %d entries: %v", n, last)
	}
	for _, err := range tab.Keys(ctx) {
		if !errors.Is(err, dsa.ErrClosed) {
			t.Errorf("Keys after the end: %v", err)
		}
	}
}
