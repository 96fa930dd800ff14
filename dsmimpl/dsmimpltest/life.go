package dsmimpltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/testing/leaktest"
	"github.com/google/uuid"
)

// What becomes of an object: made once, found while it is there, gone without a trace.

func testRefusal(t *testing.T, b dsmimpl.Backend, want error) {
	ctx, o := context.Background(), dsmimpl.Object{Life: uuid.New(), Handle: 1 << 16, Size: 1}
	_, attach := b.Attach(ctx, o, dsmimpl.ReadWrite)
	for op, err := range map[string]error{"Attach": attach, "Detach": b.Detach(dsmimpl.Mapping{}),
		"Destroy": b.Destroy(ctx, o)} {
		if !errors.Is(err, want) {
			t.Errorf("%s = %v, want %v", op, err, want)
		}
	}
}

func testExclusive(b *bench) {
	o, m := b.create(b.object(100))
	copy(m.Bytes, "first")
	second := o
	second.Word = 0
	if _, _, err := b.Create(context.Background(), second); !errors.Is(err, fs.ErrExist) {
		b.Errorf("Create of a taken name = %v, want fs.ErrExist", err)
	}
	n := b.attach(o, dsmimpl.ReadWrite)
	if !bytes.HasPrefix(n.Bytes, []byte("first")) {
		b.Error("the refused Create changed the object that was there")
	}
	b.detach(m, n)
}

func testMissing(b *bench) {
	o := b.object(100)
	b.wantGone(o)
	b.destroy(o) // a missing object is success
}

func testDestroy(b *bench) {
	o, m := b.create(b.object(100))
	b.destroy(o)
	copy(m.Bytes, "mapped bytes outlive the object")
	if !bytes.HasPrefix(m.Bytes, []byte("mapped bytes outlive")) {
		b.Error("bytes changed under their mapping")
	}
	b.detach(m)
	b.wantGone(o)
	b.destroy(o) // twice is harmless
}

func testDestroyWithoutWord(b *bench) {
	o, m := b.create(b.object(100))
	b.detach(m)
	o.Word = 0 // the creator was killed before it wrote the word down
	b.destroy(o)
	b.wantGone(o)
}

func testCancelled(b *bench) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	o := b.object(64 << 20) // more than one step's work
	if m, word, err := b.Create(ctx, o); err == nil {
		b.Error("Create went through though its context was over")
		b.detach(m)
		o.Word = word
		b.destroy(o)
	}
	b.wantGone(o)
}

func testConcurrent(b *bench) {
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for round := range 20 {
				o := b.object(1 + rand.IntN(3*os.Getpagesize()))
				m, word, err := b.Create(context.Background(), o)
				if err != nil {
					b.Error(err)
					return
				}
				o.Word = word
				text := fmt.Sprintf("%d/%d", worker, round)
				k := copy(m.Bytes, text)
				n, err := b.Attach(context.Background(), o, dsmimpl.ReadWrite)
				if err != nil {
					b.Error(err)
				} else if string(n.Bytes[:k]) != text[:k] {
					b.Errorf("read %q, want %q", n.Bytes[:k], text[:k])
				}
				b.detach(m, n)
				b.destroy(o)
			}
		})
	}
	wg.Wait()
}

func testNoResidue(b *bench) {
	cycle := func() {
		o, m := b.object(5000), dsmimpl.Mapping{}
		m, word, err := b.Create(context.Background(), o)
		if err != nil {
			b.Fatal(err)
		}
		o.Word = word
		b.detach(b.attach(o, dsmimpl.ReadWrite), m)
		b.destroy(o)
	}
	cycle()
	before := leaktest.Now()
	for range 300 {
		cycle()
	}
	if after := leaktest.Now(); after != before {
		b.Errorf("300 cycles went from %+v to %+v", before, after)
	}
}
