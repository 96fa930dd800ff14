package registry_test

import (
	"context"
	"fmt"
	"log"
	"sync/atomic"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/supervisor"
)

// inInstance runs f with a session of a private instance.
func inInstance(f func(ctx context.Context, s *dsm.Session) error) {
	if err := supervisor.Run(context.Background(), dsm.Config{}, f); err != nil {
		log.Fatal(err)
	}
}

// Processes that know nothing of each other share what has a name. The first to ask makes it.
func Example() {
	inInstance(func(ctx context.Context, s *dsm.Session) error {
		type stats struct{ Hits atomic.Int64 }
		for range 2 { // two processes
			st, err := registry.Segment(ctx, s, "stats", func(st *stats) error {
				st.Hits.Store(100)
				return nil
			})
			if err != nil {
				return err
			}
			fmt.Println(st.Hits.Add(1))
		}
		names, err := registry.List(ctx, s)
		if err != nil {
			return err
		}
		for _, x := range names {
			fmt.Println(x.Name, x.Kind, x.State)
		}
		return registry.Delete(ctx, s, "stats")
	})
	// Output:
	// 101
	// 102
	// stats segment ready
}

// A hash table by name, whose memory is limited.
func ExampleHash() {
	inInstance(func(ctx context.Context, s *dsm.Session) error {
		o := registry.Options{Area: dsa.Options{Limit: 8 << 20}}
		t, err := registry.Hash[uint64, uint64](ctx, s, "visits", dshash.Options{}, o)
		if err != nil {
			return err
		}
		texts, err := registry.HashBytes(ctx, s, "pages", dshash.Options{}, o)
		if err != nil {
			return err
		}
		fmt.Println(t.Set(ctx, 7, 1), texts.Set(ctx, []byte("/"), []byte("<html>")))
		err = texts.Set(ctx, []byte("/large"), make([]byte, 9<<20))
		fmt.Println(err != nil, texts.Len())
		return nil
	})
	// Output:
	// <nil> <nil>
	// true 1
}

// A heap by name.
func ExampleArea() {
	inInstance(func(ctx context.Context, s *dsm.Session) error {
		a, err := registry.Area(ctx, s, "objects", dsa.Options{})
		if err != nil {
			return err
		}
		defer a.Detach()
		_, err = a.Alloc(1000)
		fmt.Println(err)
		return nil
	})
	// Output: <nil>
}

// A package with a structure of its own says what kind of thing a name stands for, how it is made, and how it is found.
func ExampleInSegment() {
	inInstance(func(ctx context.Context, s *dsm.Session) error {
		create := func(g *dsm.Segment) (*mq.Queue, error) { return mq.Create(g.Region()) }
		find := func(g *dsm.Segment) (*mq.Queue, error) { return mq.Attach(g.Region()) }
		_, err := registry.InSegment(ctx, s, "jobs", registry.Kind{Name: "queue"}, mq.Size(64<<10), create, find)
		fmt.Println(err)
		return nil
	})
	// Output: <nil>
}

// The same for a structure that lies in an area and grows.
func ExampleInArea() {
	inInstance(func(ctx context.Context, s *dsm.Session) error {
		create := func(a *dsa.Area) (*dshash.Bytes, dsa.Pointer, error) {
			t, err := dshash.CreateBytes(a, dshash.Options{})
			if err != nil {
				return nil, 0, err
			}
			return t, t.Handle(), nil
		}
		find := func(a *dsa.Area, at dsa.Pointer) (*dshash.Bytes, error) {
			return dshash.AttachBytes(a, at, dshash.Options{})
		}
		t, err := registry.InArea(ctx, s, "index", registry.Kind{Name: "index"}, dsa.Options{Limit: 1 << 30}, create, find)
		if err != nil {
			return err
		}
		fmt.Println(t.Len())
		return nil
	})
	// Output: 0
}
