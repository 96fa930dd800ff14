//go:build linux

package crashtest

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/google/uuid"
)

// check is what must be so when the victim is dead, or done, whatever it did.
func (w *world) check() {
	w.t.Helper()
	if w.victim != nil && !w.dead {
		w.victim.Kill()
	}
	if w.sup == nil {
		w.supervise()
	}
	w.atRest()
	w.progress()
	w.secondReclaim()
	if w.survivor != nil {
		if err := w.survivor.Close(); err != nil {
			w.t.Errorf("Close of the survivor: %v", err)
		}
	}
	if err := w.sup.Stop(); err != nil {
		w.t.Errorf("Stop: %v", err)
	}
	w.nothing(w.dir)
}

// checkLeft is check, and what was pinned must be there if the instance was handed over.
func (w *world) checkLeft() {
	w.t.Helper()
	if w.victim != nil && !w.dead {
		w.victim.Kill()
	}
	left, _ := filepath.Glob(filepath.Join(w.dir, "left.*"))
	left = slices.DeleteFunc(left, func(name string) bool { return strings.HasSuffix(name, ".new") })
	w.supervise()
	if r, ierr := dsm.Inspect(ctx, w.config()); len(left) == 1 && (ierr != nil || len(r.Segments) != 1 || !r.Segments[0].Pinned) {
		w.t.Errorf("the instance was handed over with one pinned segment; the next supervisor has %+v, %v", r.Segments, ierr)
	}
	w.check()
}

// noObject of the instance in dir may be left in the system.
func (w *world) noObject(dir string) {
	w.t.Helper()
	if left := w.objectsIn(dir); len(left) > 0 {
		w.t.Errorf("left behind: %s", strings.Join(left, ", "))
	}
}

// objectsIn are those of the instance in dir, and not of one that the directory is a copy of.
func (w *world) objectsIn(dir string) []string {
	lives := slices.DeleteFunc(instancetest.Lives(w.t, dir), func(life uuid.UUID) bool {
		return dir != w.original && slices.Contains(w.foreign, life)
	})
	return objectlist.Objects(lives, filepath.Join(dir, "mmap"))
}

// nothing of the instance in dir may be left in the system, and nothing of its life in dir.
func (w *world) nothing(dir string) {
	w.t.Helper()
	w.noObject(dir)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if n := e.Name(); n != "id" && n != "lives" && n != "instance" && n != "mmap" && n != "events" {
			w.t.Errorf("left in the directory: %s", n)
		}
	}
}

// atRest waits until the books say what is so: no process but the living holds anything, nothing is
// half done, and every row has its object.
func (w *world) atRest() {
	w.t.Helper()
	var why string
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		r, err := dsm.Inspect(ctx, w.config())
		if err != nil {
			why = err.Error()
		} else {
			why = w.unrest(r)
		}
		if why == "" {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("the instance does not come to rest: %s", why)
		}
	}
}

func (w *world) unrest(r dsm.Report) string {
	living := 0
	if w.survivor != nil {
		living = 1
	}
	if len(r.Sessions) != living {
		return fmt.Sprintf("%d sessions, of which %d live: %+v", len(r.Sessions), living, r.Sessions)
	}
	bytes := uint64(0)
	held := 0
	for _, s := range r.Segments {
		bytes += uint64(s.Size)
		refs := 0
		for _, h := range s.Holders {
			if h.Pid != os.Getpid() {
				return fmt.Sprintf("segment %v is held by process %d", s.Handle, h.Pid)
			}
			refs++
			held++
		}
		if s.Pinned {
			refs++
		}
		if s.State != "live" || refs == 0 || refs != s.Refs || s.Failed != nil {
			return fmt.Sprintf("segment %v is %s with %d references, %v", s.Handle, s.State, s.Refs, s.Failed)
		}
	}
	if held != living { // the survivor holds its shared segment and nothing else, unless it is just giving back
		return fmt.Sprintf("the survivor holds %d segments", held)
	}
	if r.Status.Segments != len(r.Segments) || r.Status.Bytes != bytes {
		return fmt.Sprintf("the books count %d segments of %d bytes; there are %d of %d",
			r.Status.Segments, r.Status.Bytes, len(r.Segments), bytes)
	}
	own := 0
	for _, s := range r.Segments {
		if !s.Reserved {
			own++
		}
	}
	if r.Status.Reserved > 0 {
		own++
	}
	if objects := len(w.objectsIn(w.dir)) - 1; objects != own {
		return fmt.Sprintf("%d objects for %d rows, %d of which are to have one", objects, len(r.Segments), own)
	}
	return ""
}

// progress is what the survivor, or a newcomer, must still be able to do.
func (w *world) progress() {
	w.t.Helper()
	s := w.survivor
	if s == nil {
		newcomer, err := dsm.Open(ctx, w.config())
		if err != nil {
			w.t.Fatalf("Open: %v", err)
		}
		defer newcomer.Close()
		s = newcomer
	} else if !whole(w.shared) {
		w.t.Error("wrong bytes in the shared segment")
	}
	g, err := s.Create(ctx, s.Owner(), 6000)
	if err != nil {
		w.t.Fatalf("Create: %v", err)
	}
	defer g.Detach()
	fill(g)
	again, err := s.Attach(ctx, s.Owner(), g.Handle())
	if err != nil || !whole(again) {
		w.t.Fatalf("Attach: %v", err)
	}
	_ = again.Detach()
}

// secondReclaim: one more look for the dead finds none, and changes nothing.
func (w *world) secondReclaim() {
	w.t.Helper()
	w.atRest()
	before, err := dsm.Inspect(ctx, w.config())
	if err != nil {
		w.t.Fatal(err)
	}
	dir, err := instance.OpenDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	backends := instance.Backends{Custom: w.config().Backend}
	set, err := backends.Load(w.dir, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := dir.Connect(ctx, backends, set, instance.Who("second"), instancetest.Logger(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	n, err := m.ReclaimDead(ctx)
	if err != nil || n != 0 {
		w.t.Errorf("the second reclaim finds %d, %v", n, err)
	}
	if err := m.Leave(ctx); err != nil {
		w.t.Error(err)
	}
	m.Books.Close()
	after, err := dsm.Inspect(ctx, w.config())
	if err != nil {
		w.t.Fatal(err)
	}
	// The counts of a holder are read at another moment than the segments: a session that is being looked at may have made
	// its segment in between. They are not what a reclaim changes.
	for _, list := range [][]dsm.SegmentInfo{before.Segments, after.Segments} {
		for i := range list {
			for k := range list[i].Holders {
				h := &list[i].Holders[k]
				h.Segments, h.Bytes, h.Done = 0, 0, dsm.Done{}
			}
		}
	}
	if !reflect.DeepEqual(before.Segments, after.Segments) {
		w.t.Errorf("the second reclaim changed\n%+v\nto\n%+v", before.Segments, after.Segments)
	}
}

// contains reports whether the file at path has the line.
func contains(path, line string) bool {
	b, _ := os.ReadFile(path)
	return slices.Contains(strings.Split(string(b), "\n"), line)
}
