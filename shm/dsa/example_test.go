package dsa_test

import (
	"context"
	"fmt"
	"log"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/supervisor"
)

// Objects of any size come from an area that grows by segments, and a Pointer names one in every process.
func Example() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		source := area.Source(s, s.Owner()) // area.Create and area.Attach do the same in one call
		a, err := dsa.Create(ctx, source, s.Self(), dsa.Options{Limit: 16 << 20})
		if err != nil {
			return err
		}
		p, err := a.Alloc(100)
		if err != nil {
			return err
		}
		b, err := a.Bytes(p)
		if err != nil {
			return err
		}
		copy(b, "an object")

		other, err := dsa.Attach(ctx, source, s.Self(), a.Handle()) // another process
		if err != nil {
			return err
		}
		if b, err = other.Bytes(p); err != nil {
			return err
		}
		fmt.Printf("%s, %d bytes\n", b[:9], len(b))
		return other.Free(p)
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: an object, 100 bytes
}

// A Ref is the Pointer of one T.
func ExampleNew() {
	type node struct {
		Next  dsa.Pointer
		Value int64
	}
	self := shmsync.Self{Peer: shmsync.Peer{Row: 1}, Alive: func(shmsync.Peer) bool { return true }} // Session.Self
	a, err := dsa.Create(context.Background(), new(dsa.Heap), self, dsa.Options{})                   // ordinary memory, as in tests
	if err != nil {
		log.Fatal(err)
	}
	ref, n, err := dsa.New[node](a)
	if err != nil {
		log.Fatal(err)
	}
	n.Value = 7
	if n, err = ref.In(a); err != nil {
		log.Fatal(err)
	}
	fmt.Println(n.Value, ref.Free(a), a.Detach())
	// Output: 7 <nil> <nil>
}

// An area may lie in a part of a segment that has other things, too.
func ExampleCreateInPlace() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		seg, err := s.Create(ctx, nil, 1<<20)
		if err != nil {
			return err
		}
		part, err := seg.Region().Sub(4096, 512<<10)
		if err != nil {
			return err
		}
		a, err := dsa.CreateInPlace(part, nil, s.Self(), dsa.Options{Sessions: 4})
		if err != nil {
			return err
		}
		p, err := a.AllocZeroed(10)
		if err != nil {
			return err
		}
		other, err := dsa.AttachInPlace(ctx, part, nil, s.Self()) // another process, in the same place
		if err != nil {
			return err
		}
		b, err := other.Bytes(p)
		fmt.Println(len(b), err)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 10 <nil>
}
