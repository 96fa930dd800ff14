package shmsync_test

import (
	"context"
	"testing"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/google/uuid"
)

// newBytes makes bytes that processes share, and that are known by a directory.
func newBytes(t testing.TB, dir string, size int) []byte {
	t.Helper()
	b, o := bytesOf(dir, size)
	m, _, err := b.Create(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Detach(m); err != nil {
			t.Error(err)
		}
		if err := b.Destroy(context.Background(), o); err != nil {
			t.Error(err)
		}
	})
	return m.Bytes
}

// openBytes maps them in another process.
func openBytes(dir string, size int) ([]byte, error) {
	b, o := bytesOf(dir, size)
	m, err := b.Attach(context.Background(), o, dsmimpl.ReadWrite)
	return m.Bytes, err
}

func bytesOf(dir string, size int) (dsmimpl.Backend, dsmimpl.Object) {
	name := "mmap" // needs no word
	if catalog.Default() == "windows" {
		name = "windows"
	}
	b, err := catalog.New(name, dir)
	if err != nil {
		panic(err)
	}
	return b, dsmimpl.Object{
		Life: uuid.NewSHA1(uuid.Nil, []byte(dir)), Generation: 1,
		Handle: 1<<16 | 1, Size: size,
	}
}
