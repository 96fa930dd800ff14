package dsmimpltest

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/google/uuid"
)

// bench is one test's backend and instance. What it makes is destroyed at the test's end.
type bench struct {
	*testing.T
	dsmimpl.Backend
	life       uuid.UUID
	generation uint64
	row        uint16
	mu         sync.Mutex
}

// object returns a new one, as package control would name it.
func (b *bench) object(size int) dsmimpl.Object {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.row++
	handle := rand.Uint64()&^0xffff | 1<<16 | uint64(b.row)
	return dsmimpl.Object{Life: b.life, Generation: b.generation, Handle: handle,
		Size: size, CreatorPid: os.Getpid()}
}

func (b *bench) create(o dsmimpl.Object) (dsmimpl.Object, dsmimpl.Mapping) {
	b.Helper()
	m, word, err := b.Create(context.Background(), o)
	if err != nil {
		b.Fatalf("Create of %d bytes: %v", o.Size, err)
	}
	o.Word = word
	b.Cleanup(func() { _ = b.Destroy(context.Background(), o) })
	if len(m.Bytes) != o.Size {
		b.Fatalf("Create gave %d bytes, want %d", len(m.Bytes), o.Size)
	}
	return o, m
}

func (b *bench) attach(o dsmimpl.Object, a dsmimpl.Access) dsmimpl.Mapping {
	b.Helper()
	m, err := b.Attach(context.Background(), o, a)
	if err != nil {
		b.Fatalf("Attach: %v", err)
	}
	return m
}

func (b *bench) detach(ms ...dsmimpl.Mapping) {
	b.Helper()
	for _, m := range ms {
		if err := b.Detach(m); err != nil {
			b.Errorf("Detach: %v", err)
		}
	}
}

func (b *bench) destroy(o dsmimpl.Object) {
	b.Helper()
	if err := b.Destroy(context.Background(), o); err != nil {
		b.Errorf("Destroy: %v", err)
	}
}

func (b *bench) wantGone(o dsmimpl.Object) {
	b.Helper()
	if m, err := b.Attach(context.Background(), o, dsmimpl.ReadWrite); !errors.Is(err, dsmimpl.ErrNotFound) ||
		!errors.Is(err, fs.ErrNotExist) {
		b.Errorf("Attach = %v, want ErrNotFound", err)
		if err == nil {
			b.detach(m)
		}
	}
}
