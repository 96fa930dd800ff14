package dshash_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"slices"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/godsm/godsm/supervisor"
)

// inArea runs f with an area of a private instance.
func inArea(f func(ctx context.Context, s *dsm.Session, a *dsa.Area) error) {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		a, err := area.Create(ctx, s, nil, dsa.Options{})
		if err != nil {
			return err
		}
		return f(ctx, s, a)
	})
	if err != nil {
		log.Fatal(err)
	}
}

type balance struct{ Cents, Turnover int64 }

// Sessions share a table by the handles of its area and its own.
func Example() {
	inArea(func(ctx context.Context, s *dsm.Session, a *dsa.Area) error {
		t, err := dshash.Create[uint64, balance](a, dshash.Options{})
		if err != nil {
			return err
		}
		if err := t.Set(ctx, 7, balance{Cents: 1000}); err != nil {
			return err
		}

		// Another process has the two handles.
		there, err := area.Attach(ctx, s, nil, area.Handle(a))
		if err != nil {
			return err
		}
		t, err = dshash.Attach[uint64, balance](there, t.Handle(), dshash.Options{})
		if err != nil {
			return err
		}
		b, found, err := t.Get(ctx, 7)
		fmt.Println(b, found, err)
		return nil
	})
	// Output: {1000 0} true <nil>
}

// Update computes a value from the present one, and no other session comes in between.
func ExampleTable_Update() {
	inArea(func(ctx context.Context, s *dsm.Session, a *dsa.Area) error {
		t, err := dshash.Create[uint64, balance](a, dshash.Options{})
		if err != nil {
			return err
		}
		withdraw := func(cents int64) error {
			return t.Update(ctx, 7, func(b *balance, existed bool) error {
				if !existed {
					b.Cents = 1000
				}
				if b.Cents < cents {
					return errors.New("not enough") // and nothing has changed
				}
				b.Cents -= cents
				b.Turnover += cents
				return nil
			})
		}
		fmt.Println(withdraw(800), withdraw(800))
		for x, err := range t.All(ctx) {
			fmt.Println(x.Key, x.Value, err)
		}
		return nil
	})
	// Output:
	// <nil> not enough
	// 7 {200 800} <nil>
}

// Keys and values of any length are in a table of Bytes.
func ExampleCreateBytes() {
	inArea(func(ctx context.Context, s *dsm.Session, a *dsa.Area) error {
		t, err := dshash.CreateBytes(a, dshash.Options{})
		if err != nil {
			return err
		}
		t, err = dshash.AttachBytes(a, t.Handle(), dshash.Options{}) // another process
		if err != nil {
			return err
		}
		for _, word := range bytes.Fields([]byte("to be or not to be")) {
			err := t.Update(ctx, word, func(v []byte, existed bool) ([]byte, error) {
				return append(slices.Clone(v), '*'), nil // v itself is not to be changed
			})
			if err != nil {
				return err
			}
		}
		v, _, err := t.Get(ctx, []byte("be"), nil)
		fmt.Println(t.Len(), string(v), err)
		return nil
	})
	// Output: 4 ** <nil>
}

// A table that a word owns is lost to no death: the word is in another object of the area.
func ExampleCreateInto() {
	inArea(func(ctx context.Context, s *dsm.Session, a *dsa.Area) error {
		root, err := a.AllocZeroed(16)
		if err != nil {
			return err
		}
		for i := range 2 {
			at, err := a.Place(root, 8*i)
			if err != nil {
				return err
			}
			if i == 0 {
				_, err = dshash.CreateInto[uint64, uint64](a, at, dshash.Options{})
			} else {
				_, err = dshash.CreateBytesInto(a, at, dshash.Options{})
			}
			if err != nil {
				return err
			}
		}
		at, err := a.Place(root, 0)
		if err != nil {
			return err
		}
		t, err := dshash.Attach[uint64, uint64](a, at.Pointer(), dshash.Options{}) // who knows the root
		if err != nil {
			return err
		}
		fmt.Println(t.Set(ctx, 1, 2), t.Len())
		return nil
	})
	// Output: <nil> 1
}
