//go:build linux

package supervisor_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

var corruptFor = flag.Duration("corrupt", 3*time.Second,
	"how long TestCorrupter garbles the control segment, for each backend")

func init() {
	proctest.Register("corrupter", corrupterHelper)
	proctest.Register("bystander", bystanderHelper)
}

// TestCorrupter: a hostile member flips bits of the control segment while others work, and while it is
// closed. A bit may cost a segment its life, or a session its place; but each of them goes on or ends in
// order, nothing foreign goes, no bytes are mixed up, and the next start leaves nothing of the instance.
func TestCorrupter(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		e := newEnv(t)
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		var foreign []string
		seen := 0 // of what is foreign, by the eye, which goes by the first letters of a name
		var flips, steps, refused int
		rounds := 0
		for end := time.Now().Add(*corruptFor); rounds == 0 || time.Now().Before(end); rounds++ {
			sup := proctest.Start(t, "supervise", e.dir, "dynamic_shared_memory_type", backend)
			sup.Expect("ready ")
			if n := e.objects(); n != seen {
				t.Fatalf("a start left %d objects of the last life", n-seen)
			}
			if rounds == 0 {
				instancetest.NoneLeft(t, e.dir)
				foreign = plant(t, e.dir)
				seen = e.objects()
			}
			var crowd []*proctest.Process
			for i := range 3 {
				p := proctest.Start(t, "bystander", e.dir, fmt.Sprint(seed+uint64(10*rounds+i)))
				p.Expect("ready")
				crowd = append(crowd, p)
			}
			hostile := proctest.Start(t, "corrupter", e.dir, backend, fmt.Sprint(seed+uint64(10*rounds+9)))
			hostile.Expect("ready")
			time.Sleep(500 * time.Millisecond) // how long a round lasts
			if rounds%3 == 1 {
				sup.Kill()
			}
			for _, p := range crowd {
				p.Send("stop")
			}
			for i, p := range crowd {
				line := p.Expect("done ")
				if err := p.Wait(); err != nil {
					t.Fatalf("bystander %d: %v\n%s", i, err, p.Stderr())
				}
				var s, r int
				if _, err := fmt.Sscan(line, &s, &r); err != nil {
					t.Fatal(err)
				}
				steps, refused = steps+s, refused+r
			}
			if err := sup.Close(); rounds%3 != 1 && proctest.ExitCode(err) > 1 ||
				strings.Contains(sup.Stderr(), "goroutine ") {
				t.Fatalf("the supervisor: %v\n%s", err, sup.Stderr())
			}
			hostile.Send("stop")
			n, _ := strconv.Atoi(hostile.Expect("flips "))
			flips += n
			_ = hostile.Close()
			for _, path := range foreign {
				if !stands(path) {
					t.Fatalf("%s is gone", path)
				}
			}
		}
		sup := proctest.Start(t, "supervise", e.dir)
		sup.Expect("ready ")
		if n := e.objects(); n != seen {
			t.Errorf("a start left %d objects of the last life", n-seen)
		}
		if err := sup.Close(); err != nil {
			t.Errorf("Stop = %v: %s", err, sup.Stderr())
		}
		for _, path := range foreign {
			if !stands(path) {
				t.Errorf("%s is gone", path)
			}
		}
		t.Logf("%d rounds: %d bits flipped, %d steps, of which %d were refused", rounds, flips, steps, refused)
	})
}

// TestLockGarbledToIdle: a lock word that names a living session, which has nothing to do, stops
// the others only until it looks.
func TestLockGarbledToIdle(t *testing.T) {
	e := newEnv(t)
	e.supervise()
	e.session()
	s := e.open()
	holdLock(t, e.dir, 1, 1)
	bounded, cancel := context.WithTimeout(ctx, 9*time.Second)
	defer cancel()
	if _, err := s.Create(bounded, s.Owner(), 10); err != nil {
		t.Error(err)
	}
}

// TestLifeGarbled: an instance that says it is being closed, while no process closes it, or whose
// supervisor has lost its row, begins its next generation.
func TestLifeGarbled(t *testing.T) {
	for name, at := range map[string]int64{"closing": 1156, "the supervisor's row": 2048} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.supervise()
			s := e.open()
			if _, err := s.Create(ctx, s.Owner(), 10); err != nil {
				t.Fatal(err)
			}
			garble(t, e.dir, at, 1<<7)
			<-s.Done()
			instancetest.Eventually(t, "there is another generation", func() bool {
				r, err := dsm.Inspect(ctx, dsm.Config{Dir: e.dir})
				return err == nil && r.Status.Generation == 2 && !r.Status.Closing && r.Status.Supervisor != 0
			})
			again := e.open()
			if _, err := again.Create(ctx, again.Owner(), 10); err != nil {
				t.Error(err)
			}
			instancetest.Eventually(t, "nothing is left of the first", func() bool { return e.objects() == 1 })
		})
	}
}

// TestHeaderGarbled: the supervisor mends what newcomers read.
func TestHeaderGarbled(t *testing.T) {
	e := newEnv(t)
	e.supervise()
	garble(t, e.dir, 24, 0xffffffff) // the instance id
	instancetest.Eventually(t, "somebody can join", func() bool {
		s, err := dsm.Open(ctx, dsm.Config{Dir: e.dir})
		if err != nil {
			if !errors.Is(err, dsm.ErrCorrupt) {
				t.Fatal(err)
			}
			return false
		}
		return s.Close() == nil
	})
}

// plant puts things beside the instance's that look like its own but for one mark. It returns where they stand.
func plant(t *testing.T, dir string) (list []string) {
	id := instancetest.Life(t, dir)
	name := func(o dsmimpl.Object) string { return o.Name() }
	mine := name(dsmimpl.Object{Life: id, Generation: 1, Handle: 77 << 16})
	near := id
	near[15] ^= 1
	for _, folder := range []string{"/dev/shm", filepath.Join(dir, "mmap")} {
		must(t, os.MkdirAll(folder, 0o700))
		for _, n := range []string{
			name(dsmimpl.Object{Life: near, Generation: 1, Handle: 77 << 16}), // another instance's, one bit away
			name(dsmimpl.Object{Life: uuid.New(), Generation: 1, Handle: 1 << 16}),
			mine[:len(mine)-1],
			mine + "x",
			strings.ToUpper(mine),
		} {
			path := filepath.Join(folder, n)
			must(t, os.WriteFile(path, []byte("mine"), 0o600))
			t.Cleanup(func() { _ = os.Remove(path) })
			list = append(list, path)
		}
		for handle, make := range map[uint64]func(string) error{
			78 << 16: func(path string) error { return os.Mkdir(path, 0o700) },
			79 << 16: func(path string) error { return os.Symlink("/etc/hostname", path) },
			80 << 16: func(path string) error { return syscall.Mkfifo(path, 0o600) },
		} {
			path := filepath.Join(folder, name(dsmimpl.Object{Life: id, Generation: 1, Handle: handle}))
			must(t, make(path))
			t.Cleanup(func() { _ = os.Remove(path) })
			list = append(list, path)
		}
	}
	short, page := dsmimpl.ShortID(id), os.Getpagesize()
	for _, x := range []struct{ key, size int }{
		// our part of the keys, a size without our mark
		{int(int32(uint32(short>>12&0xffff)<<16 | 5)), page},
		// the size with our mark, another's key
		{int(int32(uint32(short>>12&0xffff^1)<<16 | 5)), page + 1 + int(short&0xfff)},
		{int(int32(uint32(short>>12&0xffff)<<16 | 6)), page + 1 + int((short^1)&0xfff)}, // a mark one bit away
	} {
		shmid, err := unix.SysvShmGet(x.key, x.size, unix.IPC_CREAT|unix.IPC_EXCL|0o600)
		must(t, err)
		t.Cleanup(func() { _, _ = unix.SysvShmCtl(shmid, unix.IPC_RMID, nil) })
		list = append(list, fmt.Sprintf("shmid %d", shmid))
	}
	return list
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func stands(where string) bool {
	if id, ok := strings.CutPrefix(where, "shmid "); ok {
		shmid, _ := strconv.Atoi(id)
		var d unix.SysvShmDesc
		_, err := unix.SysvShmCtl(shmid, unix.IPC_STAT, &d)
		return err == nil
	}
	_, err := os.Lstat(where)
	return err == nil
}

// corrupterHelper: DIR BACKEND SEED. It flips bits until it hears something.
func corrupterHelper(c *proctest.Child) error {
	seed, _ := strconv.ParseUint(c.Args[2], 10, 64)
	rng := rand.New(rand.NewPCG(seed, 1))
	d, err := instance.OpenDir(c.Args[0])
	if err != nil {
		return err
	}
	r, err := d.ReadRecord()
	if err != nil {
		return err
	}
	backend, err := d.BackendOf(instance.Backends{}, r)
	if err != nil {
		return err
	}
	o := dsmimpl.Object{Life: r.Life, Generation: r.Generation, Handle: dsmimpl.ControlHandle}
	m, err := backend.Attach(ctx, o, dsmimpl.ReadWrite)
	if err != nil {
		return err
	}
	stop := make(chan bool)
	go func() { c.Hear(); close(stop) }()
	c.Say("ready")
	for flips := 0; ; flips++ {
		select {
		case <-stop:
			c.Say("flips %d", flips)
			return nil
		case <-time.After(time.Duration(rng.IntN(2000)) * time.Microsecond):
		}
		at := rng.IntN(len(m.Bytes))
		if rng.IntN(4) > 0 { // where there is more to be broken: rows in use
			const rows = 2048 + 21*64
			switch n := rng.IntN(100); {
			case n < 2:
				at = 1152 + rng.IntN(32) // the header's
			case n < 12:
				at = 2048 + rng.IntN(5*64)
			case n < 60:
				at = rows + rng.IntN(20*96)
			default:
				at = rows + 1200*96 + rng.IntN(20*8)
			}
		}
		m.Bytes[at] ^= 1 << rng.IntN(8) // torn against the others' atomics, as a stray store would be
	}
}

// bystanderHelper: DIR SEED. It works as any program does until it hears something, and bears what it is told.
func bystanderHelper(c *proctest.Child) error {
	seed, _ := strconv.ParseUint(c.Args[1], 10, 64)
	b := &bystander{rng: rand.New(rand.NewPCG(seed, 2)), dir: c.Args[0]}
	stop := make(chan bool)
	go func() { c.Hear(); close(stop) }()
	c.Say("ready")
	for {
		select {
		case <-stop:
			c.Say("done %d %d", b.steps, b.refused)
			return nil
		default:
		}
		if err := b.life(stop); err != nil {
			return err
		}
	}
}

type bystander struct {
	rng            *rand.Rand
	dir            string
	steps, refused int
}

// bear counts an error of a kind that a program may be told here; any other is returned.
func (b *bystander) bear(err error) error {
	if err == nil {
		return nil
	}
	b.refused++
	for _, kind := range []error{
		dsm.ErrNotFound, dsm.ErrCorrupt, dsm.ErrStale, dsm.ErrNoInstance, dsm.ErrQuota, dsm.ErrTooManySegments,
		dsm.ErrTooManyProcesses, dsm.ErrClosed, dsm.ErrInUse, context.DeadlineExceeded,
		dsm.ErrPermission, // a pin may be garbled to that of the root segment
	} {
		if errors.Is(err, kind) {
			return nil
		}
	}
	return err
}

// life is one session's.
func (b *bystander) life(stop <-chan bool) error {
	b.steps++
	bounded, cancel := context.WithTimeout(ctx, time.Second)
	s, err := dsm.Open(bounded, dsm.Config{Dir: b.dir, Application: "bystander"})
	cancel()
	if err != nil {
		return b.bear(err)
	}
	var held []*dsm.Segment
	for range 200 {
		select {
		case <-stop:
			return b.bear(s.Close())
		case <-s.Done():
			return b.bear(s.Close())
		default:
		}
		b.steps++
		bounded, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		held, err = b.step(bounded, s, held)
		cancel()
		if err := b.bear(err); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	return b.bear(s.Close())
}

func (b *bystander) step(ctx context.Context, s *dsm.Session, held []*dsm.Segment) ([]*dsm.Segment, error) {
	what := b.rng.IntN(10)
	switch {
	case what < 3 && len(held) < 6:
		g, err := s.Create(ctx, s.Owner(), 16+b.rng.IntN(5000))
		if err != nil {
			return held, err
		}
		_, err = g.WriteAt([]byte(g.Handle().String()), 0)
		return append(held, g), err
	case what < 5 && len(held) < 6:
		list, err := s.Segments(ctx)
		if err != nil || len(list) == 0 {
			return held, err
		}
		h := list[b.rng.IntN(len(list))].Handle
		g, err := s.Attach(ctx, s.Owner(), h)
		if err != nil {
			return held, err
		}
		text := make([]byte, 13)
		if _, err := g.ReadAt(text, 0); err != nil {
			return append(held, g), err
		}
		if !strings.HasPrefix(h.String(), strings.TrimRight(string(text), "\x00")) { // it may be under way
			return held, fmt.Errorf("attached %v, and it says it is %q", h, text)
		}
		return append(held, g), nil
	case len(held) == 0:
		return held, nil
	case what == 5:
		return held, held[b.rng.IntN(len(held))].Pin(ctx)
	case what == 6:
		return held, held[b.rng.IntN(len(held))].Unpin(ctx)
	}
	i := b.rng.IntN(len(held))
	g := held[i]
	return append(held[:i], held[i+1:]...), g.Detach()
}
