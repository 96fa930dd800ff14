package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/shm"
)

// audit is a look at an instance at rest: what is there beside what should be.
type audit struct {
	rows, objects []string // what leaked
}

// keep keeps what is worse of two looks.
func (a *audit) keep(b audit) {
	if len(b.rows) > len(a.rows) {
		a.rows = b.rows
	}
	if len(b.objects) > len(a.objects) {
		a.objects = b.objects
	}
}

func (a audit) clean() bool { return len(a.rows)+len(a.objects) == 0 }

// eventually looks until all is well, if there is hope for that for as long as those at work may take.
func (r *run) eventually(look func() (audit, error), hope bool) (a audit, err error) {
	for end := time.Now().Add(tooLong); ; time.Sleep(5 * time.Millisecond) {
		a, err = look()
		if err != nil || a.clean() || !hope || time.Now().After(end) {
			return a, err
		}
	}
}

// audit compares the books with what the living say they hold, in both directions, and the system with the books.
func (r *run) audit(says []report) (a audit, err error) {
	w := r.world.Load()
	processes, err := w.books.Table.Processes()
	if err != nil {
		return a, err
	}
	segments, err := w.books.Table.Segments()
	if err != nil {
		return a, err
	}
	leak := func(list *[]string, format string, args ...any) { *list = append(*list, fmt.Sprintf(format, args...)) }

	own, _ := processOf(w.books, os.Getpid())
	holds := map[int][]dsm.Handle{own.Row: {w.onBoard.Handle()}, control.SupervisorRow: nil}
	for _, s := range says {
		holds[s.Row] = s.Holds
	}
	bits := map[int]int{}
	present := map[dsm.Handle][]int{}
	bytes, pages := uint64(0), uint64(0)
	want := 1 // object: the control segment
	if w.books.Table.Limits.Reserved > 0 {
		want++
	}
	for _, s := range segments {
		h := dsm.Handle(s.Handle)
		present[h] = s.Holders
		bytes += uint64(s.Size)
		if _, carved := s.Carved(); carved {
			pages += uint64(s.Size+control.PageSize-1) / control.PageSize
		} else {
			want++
		}
		switch {
		case s.State != control.Live || !s.Sound:
			leak(&a.rows, "segment %v is %v, sound %v, errno %v", h, s.State, s.Sound, s.Errno)
		case len(s.Holders) == 0 && !s.Pinned:
			leak(&a.rows, "no process holds segment %v", h)
		}
		for _, row := range s.Holders {
			bits[row]++
			if !slices.Contains(holds[row], h) {
				leak(&a.rows, "row %d is said to hold segment %v, and does not", row, h)
			}
		}
	}
	for row, list := range holds {
		for _, h := range list {
			if !slices.Contains(present[h], row) {
				leak(&a.rows, "row %d holds segment %v, and the books don't say so", row, h)
			}
		}
	}
	for _, p := range processes {
		if _, ok := holds[p.Row]; !ok || !w.books.Roll.Held(p.Row) {
			leak(&a.rows, "row %d of process %d has no living process", p.Row, p.Pid)
		}
		if p.Segments != bits[p.Row] {
			leak(&a.rows, "row %d has %d references and counts %d", p.Row, bits[p.Row], p.Segments)
		}
	}
	if len(processes) != len(holds) {
		leak(&a.rows, "%d processes have rows, %d live", len(processes), len(holds))
	}
	if rows, n, err := w.books.Table.Used(); err != nil || rows != len(segments) || n != bytes {
		leak(&a.rows, "%d segments of %d bytes are counted, there are %d of %d (%v)",
			rows, n, len(segments), bytes, err)
	}
	if n, err := w.books.Table.ReservedUsed(); err != nil || n != pages*control.PageSize {
		leak(&a.rows, "%d bytes of the reserved region are given out, the segments there have %d pages (%v)",
			n, pages, err)
	}
	objects := r.objects()
	for i := want; i < len(objects); i++ {
		leak(&a.objects, "%d objects, with the control segment there should be %d: %v", len(objects), want, objects)
	}
	for i := len(objects); i < want; i++ {
		leak(&a.objects, "only %d objects, with the control segment there should be %d: %v",
			len(objects), want, objects)
	}
	return a, nil
}

// objects returns the instance's in the system, as an independent eye sees them.
func (r *run) objects() []string {
	dirs := []string{filepath.Join(r.dir, "mmap"), r.world.Load().books.Record.MmapDirectory}
	return objectlist.Objects(r.seen(), dirs...)
}

// rest ends the chaos: all workers say what they hold. Those that don't are stuck.
func (r *run) rest() (says []report) {
	r.resting.Store(true)
	var asked []*process
	for i := range r.Workers {
		if p := r.desks[i].Load(); p != nil {
			_, _ = fmt.Fprintln(p.Orders, "rest")
			asked = append(asked, p)
		}
	}
	timeout, cancel := context.WithTimeout(context.Background(), tooLong)
	defer cancel()
	for _, p := range asked {
		select {
		case s := <-p.said:
			says = append(says, s)
		case <-p.ended: // it was about to quit
		case <-timeout.Done():
			r.stuckBecause("worker %d does not come to rest", p.Pid())
			r.coroner.kill(p)
		}
	}
	return says
}

// judgeAll reads every block of every segment that is there, and takes all pins away.
func (r *run) judgeAll(ctx context.Context) error {
	w := r.world.Load()
	segments, err := w.books.Table.Segments()
	if err != nil {
		return err
	}
	for _, s := range segments {
		h := dsm.Handle(s.Handle)
		if h == w.onBoard.Handle() {
			continue
		}
		g, err := w.session.Attach(ctx, w.session.Owner(), h)
		if err != nil {
			return fmt.Errorf("a segment that is there can't be attached: %w", err)
		}
		blocks, err := shm.SliceOf[block](g.Region(), 0, g.Size()/blockSize)
		if err != nil {
			return err
		}
		for i := range blocks {
			if blocks[i].judge(placeOf(h, i)) == wrong {
				r.wrong.Add(1)
				fmt.Fprintf(r.Log, "crash: block %d of segment %v is wrong at the end\n", i, h)
			}
		}
		if s.Pinned {
			if err := g.Unpin(ctx); err != nil {
				return err
			}
		}
		if err := g.Detach(); err != nil {
			return err
		}
	}
	return nil
}

// plant leaves an object behind that no row lists.
func (r *run) plant(ctx context.Context) error {
	b := r.world.Load().books
	o := b.Object(control.Entry{Handle: 1<<32 | uint64(b.Table.Limits.Segments-1), Size: 4096, CreatorPid: os.Getpid()})
	m, _, err := b.Backend.Create(ctx, o)
	if err != nil {
		return err
	}
	return b.Backend.Detach(m)
}
