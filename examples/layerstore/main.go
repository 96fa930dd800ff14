// Command layerstore is a store of images that several processes use at once: they pull, run, remove, list and check images
// whose layers are real ones, made of source code that is on this machine, and named by their digests. Each layer and each
// image has a lock of its own, in a table of package locktable, and beside the processes runs an older tool that knows one
// lock file for the whole store, by which package compat lets both work together.
//
//	go run -C examples/layerstore .
//
// It says how long two pulls take with one lock for all layers, and with one for each; that no layer is downloaded twice;
// what a puller that was killed leaves; and how the older tool fared. It ends with an error if something of the store is
// wrong. In another terminal, `dsmdemo locks` shows who holds what meanwhile.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/supervisor"
)

const (
	layers  = 12 // of an image that shares nothing
	runners = 40 // runs of each process that runs images
)

// order is what worker processes do, a list of jobs for each.
type order struct {
	Place place
	Jobs  [][]job
}

// job is one thing to do with an image.
type job struct {
	Do    string
	Image manifest
	DieAt string // the layer with which a puller dies
}

// worker is a process that uses the store.
var worker = parallel.Register("worker", func(ctx context.Context, w *parallel.Worker, o order) error {
	s, err := openStore(ctx, w.Session, o.Place)
	if err != nil {
		return err
	}
	for _, j := range o.Jobs[w.Index] {
		switch j.Do {
		case "pull":
			err = s.pull(ctx, j.Image, j.DieAt)
		case "rm":
			err = s.rm(ctx, j.Image.Name)
		case "run":
			for i := 0; i < runners && err == nil; i++ {
				err = s.run(ctx, j.Image.Name, time.Millisecond)
			}
		case "ls":
			for i := 0; i < runners && err == nil; i++ {
				_, err = s.ls(ctx)
				time.Sleep(time.Millisecond)
			}
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", j.Do, j.Image.Name, err)
		}
	}
	return nil
})

func main() {
	log.SetFlags(0)
	if len(os.Args) == 3 && os.Args[1] == olderCommand {
		if err := beOlder(os.Args[2]); err != nil {
			log.Fatal("older tool: ", err)
		}
		return
	}
	parallel.Main()
	if err := supervisor.Run(context.Background(), dsm.Config{}, run); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, s *dsm.Session) (err error) {
	dir, err := os.MkdirTemp("", "layerstore")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r, err := newRegistry(3*layers + 2)
	if err != nil {
		return err
	}
	defer r.server.Close()
	if err := compare(ctx, s, r, dir); err != nil {
		return err
	}
	return live(ctx, s, r, filepath.Join(dir, "store"))
}

// compare pulls two images that share nothing, at once, with one lock for all layers and with one for each.
func compare(ctx context.Context, s *dsm.Session, r *registry, dir string) error {
	a, b := r.image("a", numbers(0, layers)...), r.image("b", numbers(layers, 2*layers)...)
	pull := func(name string, one bool, images ...manifest) (time.Duration, error) {
		o := order{Place: place{Dir: filepath.Join(dir, name), URL: r.url, OneLock: one}}
		for _, m := range images {
			o.Jobs = append(o.Jobs, []job{{Do: "pull", Image: m}})
		}
		began := time.Now()
		err := worker.Run(ctx, s, len(images), o)
		took := time.Since(began)
		if all, again := r.downloads(); err == nil && (all != layers*len(images) || again > 0) {
			err = fmt.Errorf("%d layers were downloaded for %d images, %d of them more than once", all, len(images), again)
		}
		return took, err
	}
	alone, err := pull("alone", false, a)
	if err != nil {
		return err
	}
	one, err := pull("one", true, a, b)
	if err != nil {
		return err
	}
	each, err := pull("each", false, a, b)
	if err != nil {
		return err
	}
	fmt.Printf("an image of %d layers is pulled in %d ms; two at once in %d ms with one lock, in %d ms with a lock for each layer: %.2f of one alone\n",
		layers, alone.Milliseconds(), one.Milliseconds(), each.Milliseconds(), float64(each)/float64(alone))
	return nil
}

// live uses a store from several processes, beside an older tool.
func live(ctx context.Context, s *dsm.Session, r *registry, dir string) error {
	p := place{Dir: dir, URL: r.url}
	st, err := openStore(ctx, s, p)
	if err != nil {
		return err
	}
	defer st.locks.Close()
	old, err := startOlder(dir)
	if err != nil {
		return err
	}
	// Two bases of one layer each, on which the images stand.
	a := r.image("a", append([]int{3 * layers}, numbers(0, layers)...)...)
	b := r.image("b", append([]int{3 * layers, 3*layers + 1}, numbers(layers, 2*layers)...)...)
	c := r.image("c", append([]int{3*layers + 1}, numbers(2*layers, 3*layers)...)...)

	done := make(chan error, 1)
	go func() {
		done <- worker.Run(ctx, s, 6, order{p, [][]job{
			{{Do: "pull", Image: a}, {Do: "run", Image: a}},
			{{Do: "pull", Image: a}, {Do: "run", Image: b}},
			{{Do: "pull", Image: b}, {Do: "run", Image: a}},
			{{Do: "pull", Image: b}, {Do: "ls"}},
			{{Do: "ls"}, {Do: "run", Image: a}, {Do: "ls"}},
			{{Do: "pull", Image: c}, {Do: "rm", Image: c}, {Do: "pull", Image: c}},
		}})
	}()
	if err := st.watch(done); err != nil {
		return err
	}
	all, again := r.downloads()
	fmt.Printf("six processes pulled 3 images with %d layers, two images twice at once, ran and listed them, removed one and pulled it again: "+
		"%d downloads, %d of them for what had been removed\n", 3*layers+2, all, again)
	// What was removed is c's own, and the base that it shares with b, unless that was there by then.
	if again < layers || again > layers+1 || all != 3*layers+2+again {
		return fmt.Errorf("%d downloads, of which %d again", all, again)
	}

	if err := st.rm(ctx, "c"); err != nil {
		return err
	}
	r.downloads()
	if err := worker.Run(ctx, s, 1, order{p, [][]job{{{Do: "pull", Image: c, DieAt: c.Layers[5]}}}}); err == nil {
		return errors.New("a puller that was to die did not")
	}
	if err := worker.Run(ctx, s, 2, order{p, [][]job{{{Do: "pull", Image: c}}, {{Do: "pull", Image: c}}}}); err != nil {
		return err
	}
	all, again = r.downloads()
	fmt.Printf("a puller was killed with half a layer, and two others finished the image: %d layers were downloaded, none twice\n", all)
	if all != layers || again > 0 {
		return fmt.Errorf("%d layers were downloaded, %d of them more than once; %d were missing", all, again, layers)
	}

	said, err := old.finish()
	if err != nil {
		return err
	}
	fmt.Print("the older tool: ", said)
	return st.audit(ctx)
}

// watch waits, and shows once meanwhile who waits for whom.
func (s *store) watch(done <-chan error) error {
	for shown := false; ; {
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Millisecond):
		}
		for i := range s.table.List() {
			if path := i.Path(); !shown && len(path) == 2 && path[0] == "layers" && len(i.Holders) > 0 && len(i.Waiters) > 0 {
				fmt.Printf("  layer %s, for example: %v, and %v\n", short(path[1]), i.Holders[0], i.Waiters[0])
				shown = true
			}
		}
	}
}

// audit checks the store, and that nothing is left of what was used to lock it but the lock file and the one beside it.
func (s *store) audit(ctx context.Context) error {
	if err := s.fsck(ctx); err != nil {
		return err
	}
	images, err := s.ls(ctx)
	if err != nil {
		return err
	}
	if len(images) != 4 {
		return fmt.Errorf("there are %d images, and should be a, b, c and the older tool's", len(images))
	}
	for i := range s.table.List() {
		return fmt.Errorf("lock %s is left: %v", i.Name(), i)
	}
	names := map[string]bool{}
	for _, dir := range []string{".", "blobs", "layers", "images"} {
		entries, err := os.ReadDir(filepath.Join(s.Dir, dir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if dir == "." || strings.HasSuffix(e.Name(), ".part") || strings.Contains(e.Name(), "lock") {
				names[e.Name()] = true
			}
		}
	}
	for _, name := range []string{"blobs", "layers", "images", "storage.lock", "storage.lock.table"} {
		delete(names, name)
	}
	if len(names) > 0 {
		return fmt.Errorf("left in the store: %v", names)
	}
	fmt.Printf("the store has %d images, all of whose layers are whole, and no file for a lock but the older tool's and the table's\n", len(images))
	return nil
}
