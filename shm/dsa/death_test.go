package dsa

import (
	"context"
	"errors"
	"testing"

	"github.com/godsm/godsm/shm/shmsync"
)

// TestNoteOfTheDead lays out what a session leaves that dies around the moment at which it frees another session's
// object: recovery frees the object; or the block is free already, and stays so; or it has another object by now,
// which stays.
func TestNoteOfTheDead(t *testing.T) {
	ctx := context.Background()
	for _, when := range []string{"stamped", "freed", "freed, and allocated again"} {
		t.Run(when, func(t *testing.T) {
			dead := false
			self := func(row int) shmsync.Self {
				return shmsync.Self{Peer: shmsync.Peer{Row: row, Incarnation: 1}, Alive: func(p shmsync.Peer) bool {
					return p.Row != 2 || !dead
				}}
			}
			var heap Heap
			a, err := Create(ctx, &heap, self(1), Options{Sessions: 4})
			if err != nil {
				t.Fatal(err)
			}
			b, err := Attach(ctx, &heap, self(2), a.Handle())
			if err != nil {
				t.Fatal(err)
			}
			p, err := a.Alloc(8192)
			if err != nil {
				t.Fatal(err)
			}
			r, _, cl, err := b.find(p, nil)
			if err != nil {
				t.Fatal(err)
			}
			b.stripes[cl.stripe].Unlock()
			m := r.m
			lost := 0
			if when == "stamped" {
				*wordAt(m.bytes, p.offset()) = freedStamp(p)
				lost = 1
			} else if err := b.Free(p); err != nil {
				t.Fatal(err)
			}
			b.stripes[classes[classOf(8192)].stripe].note.intent.Store(uint64(p.withSlack(intentStamped)))
			mine := 0
			for again := false; when == "freed, and allocated again" && !again; mine++ {
				q, err := a.Alloc(8192)
				if err != nil || mine > 8 {
					t.Fatal(mine, err)
				}
				again = q == p
			}
			dead = true
			rep, err := a.Verify(ctx)
			if err != nil || len(rep.Problems) > 0 || rep.Dead != 1 || rep.Lost != lost || rep.Objects != mine {
				t.Errorf("%+v, %v; %d objects are this session's", rep, err, mine)
			}
			if err := a.Free(p); (err == nil) != (mine > 0) || err != nil && !errors.Is(err, ErrPointer) {
				t.Errorf("freed in the end: %v", err)
			}
		})
	}
}
