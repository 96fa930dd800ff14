package endtest

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/shm/toc"
)

var moments = flag.Int("moments", 1, "how many processes use everything while segments are truncated in each way, for each backend")

func init() { proctest.Register("moment", moment) }

// ownBytes are uses that load or store shared bytes themselves, or call functions that are bare. Each has its reason.
var ownBytes = map[string]string{
	"area.Source":            "the source is of package dsa, which lends it to no program",
	"dshash.CreateBytesInto": "a place", "dshash.CreateInto": "a place",
	"dshash.BytesEntry.Update": "the value's bytes", "dshash.Entry.Update": "the value", "dshash.Entry.Value": "the value",
	"mq.Conn.Close": "TrySend", "mq.Conn.CloseRead": "TrySend", "mq.Conn.CloseWrite": "TrySend", "mq.Create": "TrySend", "mq.NewConn": "TrySend",
	"registry.InSegment": "the words", "registry.Segment": "the words", "toc.Get": "the number",
}

// cuts are the ways in which another program truncates the objects of segments, in any order.
var cuts = map[string]func(rnd *rand.Rand, paths []string) (n int){
	"all": func(rnd *rand.Rand, paths []string) (n int) { return cut(paths, func(int64) int64 { return 0 }) },
	"one": func(rnd *rand.Rand, paths []string) (n int) { return cut(paths[:1], func(int64) int64 { return 0 }) },
	"pages": func(rnd *rand.Rand, paths []string) (n int) {
		return cut(paths, func(size int64) int64 { return rnd.Int64N(size/4096+1) * 4096 })
	},
	"garbled": garble,
	"zeroed": func(rnd *rand.Rand, paths []string) (n int) {
		for _, p := range paths {
			i, err := os.Stat(p)
			if err == nil && cut([]string{p}, func(int64) int64 { return 0 }) == 1 && os.Truncate(p, i.Size()) == nil {
				n++
			}
		}
		return n
	},
}

// cut truncates files, each to what to says of its size, and returns how many could be.
func cut(paths []string, to func(size int64) int64) (n int) {
	for _, p := range paths {
		if i, err := os.Stat(p); err == nil && os.Truncate(p, to(i.Size())) == nil {
			n++
		}
	}
	return n
}

// TestTruncatedAtAnyMoment truncates segments, or the control segment, while goroutines of a process are at any instruction of any call: none of its
// accesses outside of Contain ends the process but those that TestTruncated's table names, no answer is wrong, and each
// call returns, if not before then after the end of its session. The process's own goroutines, which serve the calls, fault as
// little.
func TestTruncatedAtAnyMoment(t *testing.T) {
	for _, backend := range catalog.Native() {
		for _, kind := range []string{"off", "on"} {
			for _, way := range slices.Sorted(maps.Keys(cuts)) {
				for _, of := range []string{"segments", "control segment"} {
					t.Run(strings.Join([]string{backend, "checked " + kind, of, way}, "/"), func(t *testing.T) {
						for range *moments {
							momentOnce(t, backend, kind, of, way)
						}
					})
				}
			}
		}
	}
}

func momentOnce(t *testing.T, backend, checked, of, way string) {
	cfg := instancetest.Config(t, backend, "max_segments", "400", "checked", checked)
	supervisor := instancetest.Start(t, cfg)
	seed := rand.Uint64()
	p := proctest.Start(t, "moment", cfg.Dir, of, way, strconv.FormatUint(seed, 10), checked)
	for {
		line, ok := p.Line()
		if !ok {
			err := p.Wait()
			t.Errorf("seed %d: %v\n%s", seed, err, faulted(p.Stderr()))
			break
		}
		if line == "done" {
			if err := p.Close(); err != nil {
				t.Errorf("seed %d: %v\n%s", seed, err, faulted(p.Stderr()))
			}
			break
		}
		if why, is := strings.CutPrefix(line, "skip "); is {
			_ = p.Close()
			t.Skip(why)
		}
		if line != "on" {
			t.Errorf("seed %d: %s", seed, line)
		}
	}
	if err := supervisor.Stop(); err != nil && of == "segments" {
		t.Errorf("seed %d: Stop: %v", seed, err)
	}
}

// faulted shortens what a process wrote that has ended by a fault, to the goroutine that met it.
func faulted(stderr string) string {
	if parts := strings.SplitN(stderr, "\n\n", 3); len(parts) == 3 && strings.Contains(parts[0], "fatal error: fault") {
		return parts[0] + "\n\n" + parts[1]
	}
	return stderr
}

// moment uses everything while its segments, or the control segment, are truncated: DIR OF WAY SEED CHECKED.
func moment(c *proctest.Child) error {
	seed, _ := strconv.ParseUint(c.Args[3], 10, 64)
	rnd, of, way := rand.New(rand.NewPCG(seed, 2)), c.Args[1], c.Args[2]
	w, err := newWorld(configOf(c.Args[0], c.Args[4]), "moment")
	if err != nil {
		return err
	}
	list, err := w.s.Segments(ctx)
	if err != nil {
		return err
	}
	var paths []string
	for _, g := range list {
		paths = append(paths, g.OSName)
	}
	if of == "control segment" {
		paths = slices.DeleteFunc(objectlist.Objects(objectlist.KnownLives(c.Args[0]), filepath.Join(c.Args[0], "mmap")),
			func(path string) bool { return slices.Contains(paths, path) })
	}
	rnd.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	asleep := sleepers(w)
	var stop atomic.Bool
	var wg sync.WaitGroup
	var at [users]atomic.Pointer[string] // what each user is in
	contained := rnd.IntN(2) == 0        // whether any Contain runs
	for i := range users {
		if i == 1 { // who sleeps
			continue
		}
		names := shuffled(rnd)
		wg.Go(func() {
			for k := 0; !stop.Load(); k++ {
				name := names[k%len(names)]
				own := isBare(name) || ownBytes[name] != "" || name == "dsm.Session.Contain"
				if own && !contained && way != "garbled" {
					continue
				}
				at[i].Store(&name)
				var err error
				if contained && (own || i == 0) {
					err = w.s.Contain(func() error { return uses[name](w, i) })
				} else {
					err = w.use(name, i)
				}
				if err != nil && of == "segments" && !allowed(err, way) {
					c.Say("%s: %v", name, err)
				}
			}
			at[i].Store(nil)
		})
	}
	pause := func() { time.Sleep(time.Duration(rnd.IntN(20000)) * time.Microsecond) } // any moment will do
	pause()
	if cuts[way](rnd, paths) == 0 {
		c.Say("skip none can be truncated")
	}
	pause()
	over := make(chan struct{})
	go func() {
		select {
		case <-over:
		case <-time.After(30 * time.Second):
			for i := range at {
				if name := at[i].Load(); name != nil {
					c.Say("user %d is still in %s", i, *name)
				}
			}
			debug.SetTraceback("all")
			panic("a call waits for ever")
		}
	}()
	_ = w.s.Close()
	stop.Store(true)
	wg.Wait()
	for name, over := range asleep {
		s := name
		at[1].Store(&s)
		<-over
	}
	close(over)
	runtime.GC() // cleanups look at what is gone, too
	c.Say("done")
	c.Hear()
	return nil
}

// allowed reports whether a call may answer err when bytes are gone, or are zeros. What can't be found any more was lost
// with its bytes, and a Verify tells what is wrong.
func allowed(err error, way string) bool {
	text := err.Error()
	if way == "garbled" { // by chance they may say anything
		return true
	}
	if rest, is := strings.CutPrefix(text, "wrong:"); is {
		return way == "zeroed" || strings.Contains(rest, "not found") || strings.Contains(rest, "entries") || strings.Contains(rest, "gone from under")
	}
	kinds := []error{dsm.ErrCorrupt, dsm.ErrNotFound, dsm.ErrDeadlock, io.EOF, os.ErrDeadlineExceeded, syscall.ECONNREFUSED}
	if way == "zeroed" { // zeros say that there is nothing, or none has it
		kinds = append(kinds, dsa.ErrPointer, toc.ErrMagic, shmsync.ErrNotOwner)
	}
	return says(err) || waits(err) || slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) }) ||
		strings.Contains(text, "does not take part in the barrier")
}

// TestOwnBytesAreUses: each use that is said to touch bytes itself is one.
func TestOwnBytesAreUses(t *testing.T) {
	var errs []error
	for _, table := range []map[string]string{ownBytes, unharmed} {
		for name := range table {
			if uses[name] == nil {
				errs = append(errs, fmt.Errorf("there is no use of %s", name))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}
