package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

type value struct {
	Name string
	N    int
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v")
	var got value
	if err := Read(path, &got); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of a missing file = %v", err)
	}
	for n := range 3 {
		want := value{"x\ny", n}
		if err := Write(path, want); err != nil {
			t.Fatal(err)
		}
		if err := Read(path, &got); err != nil || got != want {
			t.Errorf("Read = %+v, %v, want %+v", got, err, want)
		}
	}
	// A writer that died in the middle leaves this.
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, value{"after", 9}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the other one's leftover is still there")
	}
}

func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v")
	if err := Write(path, value{"hello", 12}); err != nil {
		t.Fatal(err)
	}
	whole, _ := os.ReadFile(path)
	var v value
	for n := range whole {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Read(path, &v); !errors.Is(err, ErrGarbage) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
		flipped := append([]byte(nil), whole...)
		flipped[n] ^= 1
		if err := os.WriteFile(path, flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Read(path, &v); !errors.Is(err, ErrGarbage) {
			t.Errorf("bit flipped in byte %d: %v", n, err)
		}
	}
	if err := Read(t.TempDir(), &v); !errors.Is(err, ErrGarbage) {
		t.Errorf("a directory: %v", err)
	}
}

// TestReadWhileReplaced: readers hinder no writer, nor it them. (Windows refuses to replace a file that is open.)
func TestReadWhileReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v")
	if err := Write(path, value{"x", 0}); err != nil {
		t.Fatal(err)
	}
	var over atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for last := 0; !over.Load(); {
				var v value
				if err := Read(path, &v); err != nil || v.N < last {
					t.Errorf("Read = %+v, %v after %d", v, err, last)
					return
				}
				last = v.N
			}
		})
	}
	for n := range 50 {
		if err := Write(path, value{"x", n + 1}); err != nil {
			t.Errorf("Write %d: %v", n+1, err)
			break
		}
	}
	over.Store(true)
	readers.Wait()
}
