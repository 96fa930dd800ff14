// Command layerlocks locks layers of images by their digests, as stores that share a disk must:
// to unpack a layer one holds its lock alone, to use it one shares it. Two stores that pull
// different layers don't wait for each other; one that is killed while it unpacks frees its
// locks, and the next one hears of it; and there is no lock file that anybody could leave behind.
//
//	go run ./examples/layerlocks
package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/supervisor"
)

const (
	layers  = 40                   // each store's
	network = 3 * time.Millisecond // for a layer to arrive
)

// hold waits for the layer's lock, which whoever asks first makes. If a process died with it,
// what that left is removed.
func hold(ctx context.Context, s *dsm.Session, o order, name string,
	lock func(*shmsync.LWLock, context.Context) (shmsync.Guard, error)) (shmsync.Guard, error) {
	d := sha256.Sum256([]byte(name))
	if o.All {
		d = sha256.Sum256(nil)
	}
	word, err := registry.Segment[shmsync.LWLockWord](ctx, s, "layer "+base64.RawURLEncoding.EncodeToString(d[:]), nil)
	if err != nil {
		return shmsync.Guard{}, err
	}
	guard, err := lock(shmsync.NewLWLock(word, s.Self()), ctx)
	if err == nil && guard.Abandoned() {
		fmt.Printf("process %d: who unpacked %q died with its lock: removed what it left\n", os.Getpid(), name)
		if err := os.Remove(filepath.Join(o.Dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			guard.Unlock()
			return guard, err
		}
		guard.MarkConsistent()
	}
	return guard, err
}

// order is what a store is to do.
type order struct {
	Dir string
	All bool // under one lock for all layers, as with one file
	Die bool // with a layer half unpacked
}

// store is a worker process: it pulls its layers.
var store = parallel.Register("store", func(ctx context.Context, w *parallel.Worker, o order) error {
	for i := range layers {
		name := fmt.Sprintf("layer %d of store %d", i, w.Index)
		if err := pull(ctx, w.Session, o, name); err != nil {
			return err
		}
	}
	return nil
})

// pull unpacks a layer, unless that has been done.
func pull(ctx context.Context, s *dsm.Session, o order, name string) error {
	guard, err := hold(ctx, s, o, name, (*shmsync.LWLock).Lock)
	if err != nil {
		return err
	}
	defer guard.Unlock()
	path := filepath.Join(o.Dir, name)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	time.Sleep(network)
	content := []byte("content of " + name)
	if o.Die {
		_ = os.WriteFile(path, content[:5], 0o600)
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Kill()
		select {}
	}
	return os.WriteFile(path, content, 0o600)
}

// use reads a layer. Any number of processes do at once.
func use(ctx context.Context, s *dsm.Session, o order, name string) error {
	guard, err := hold(ctx, s, o, name, (*shmsync.LWLock).RLock)
	if err != nil {
		return err
	}
	defer guard.Unlock()
	if b, err := os.ReadFile(filepath.Join(o.Dir, name)); err != nil || string(b) != "content of "+name {
		return fmt.Errorf("%s holds %q (%v)", name, b, err)
	}
	return nil
}

func main() {
	log.SetFlags(0)
	parallel.Main()
	if err := supervisor.Run(context.Background(), dsm.Config{}, run); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, s *dsm.Session) error {
	dir, err := os.MkdirTemp("", "layerlocks")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var took [2]time.Duration
	for i, all := range []bool{true, false} {
		d, err := os.MkdirTemp(dir, "store")
		if err != nil {
			return err
		}
		begin := time.Now()
		if err := store.Run(ctx, s, 2, order{Dir: d, All: all}); err != nil {
			return err
		}
		took[i] = time.Since(begin)
		if i == 1 {
			dir = d
		}
	}
	fmt.Printf("two stores pull %d layers each: %3d ms with one lock, %3d ms with a lock for each layer\n",
		layers, took[0].Milliseconds(), took[1].Milliseconds())

	const name = "layer 0 of store 0"
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		return err
	}
	if err := store.Run(ctx, s, 1, order{Dir: dir, Die: true}); err == nil {
		return errors.New("a store that was to die did not")
	}
	if err := pull(ctx, s, order{Dir: dir}, name); err != nil {
		return err
	}
	if err := use(ctx, s, order{Dir: dir}, name); err != nil {
		return err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	special := func(f os.DirEntry) bool { return !f.Type().IsRegular() }
	if len(files) != 2*layers || slices.ContainsFunc(files, special) {
		return fmt.Errorf("%d files in the store: %v", len(files), files)
	}
	fmt.Printf("the store holds its %d layers and nothing else\n", len(files))
	return nil
}
