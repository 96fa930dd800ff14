package parts

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/postgres"
	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/dsm"
	"golang.org/x/sys/unix"
)

func init() {
	side.Register("segments/create", createDetach)
	side.Register("segments/attach", attachDetach)
	side.Register("raw/create", rawCreate)
	side.Register("raw/attach", rawAttach)
}

const raw = "raw system calls"

// whyC is of rows in which the kernel's time is nearly all there is.
const whyC = "the same system calls, made from C: from Go each costs more (compare the raw ones, which are made in Go)"

// whyRaw: what we do beyond the calls themselves.
const whyRaw = "the limit: we make the same calls, and write down who holds what"

func segments(r Rivals) (list []figure.Figure) {
	sizes := []int{4 << 10, 64 << 10, 1 << 20, 16 << 20}
	if r.Quick {
		sizes = []int{4 << 10, 1 << 20}
	}
	whyCreate := map[string]string{"posix": whyC, "mmap": whyC,
		"sysv": whyC + "; we ask whose an object is before we remove it (IPC_STAT)"}
	worlds := map[string]postgres.World{"posix": postgres.Posix, "sysv": postgres.SysV, "mmap": postgres.Mmap}
	for _, backend := range []string{"posix", "sysv", "mmap"} {
		for _, size := range sizes {
			create := figure.Figure{Part: "segments", Shape: fmt.Sprintf("create+detach %s, %s", Size(size), backend),
				Sides: []figure.Contender{
					goSide(figure.Ours, "segments/create", backend, size),
					why(goSide(raw, "raw/create", backend, size, r.Dir), whyRaw),
					why(r.postgres(worlds[backend], "create", size), whyCreate[backend]),
				}}
			attach := figure.Figure{Part: "segments", Shape: fmt.Sprintf("attach+detach %s, %s", Size(size), backend),
				Sides: []figure.Contender{
					goSide(figure.Ours, "segments/attach", backend, size),
					why(goSide(raw, "raw/attach", backend, size, r.Dir), whyRaw),
					why(r.postgres(worlds[backend], "attach", size), whyC),
				}}
			if backend == "posix" {
				create.Sides = append(create.Sides,
					why(r.boost("create", size), "it reserves no memory: a full file system is a SIGBUS later"),
					why(r.python("create", size), "it reserves no memory: a full file system is a SIGBUS later"))
				attach.Sides = append(attach.Sides, why(r.boost("attach", size), whyC),
					why(r.python("attach", size), "it takes no reference: which process has the object is unknown"))
			}
			list = append(list, create, attach)
		}
	}
	return list
}

// createDetach measures create and detach of a segment. Its arguments are BACKEND SIZE.
func createDetach(a side.Args) (*side.Work, error) {
	w, err := ofType(a.List[0])
	if err != nil {
		return nil, err
	}
	return &side.Work{Run: side.Loop(createLoop(w, a.Int(1))), Close: w.end}, nil
}

func createLoop(w *world, size int) func(int) error {
	return func(n int) error {
		for range n {
			g, err := w.Create(ctx, w.Owner(), size)
			if err != nil {
				return err
			}
			if err := g.Detach(); err != nil {
				return err
			}
		}
		return nil
	}
}

// attachDetach measures attach and detach of a segment that another session has. Its arguments are BACKEND SIZE.
func attachDetach(a side.Args) (*side.Work, error) {
	w, err := ofType(a.List[0])
	if err != nil {
		return nil, err
	}
	g, err := w.Create(ctx, w.Owner(), a.Int(1))
	if err != nil {
		return nil, err
	}
	other, err := w.join()
	if err != nil {
		return nil, err
	}
	return &side.Work{Run: side.Loop(attachLoop(other, g.Handle())), Close: func() error {
		if err := other.Close(); err != nil {
			return err
		}
		return w.end()
	}}, nil
}

func attachLoop(s *dsm.Session, h dsm.Handle) func(int) error {
	return func(n int) error {
		for range n {
			g, err := s.Attach(ctx, s.Owner(), h)
			if err != nil {
				return err
			}
			if err := g.Detach(); err != nil {
				return err
			}
		}
		return nil
	}
}

// rawPath returns a file for the raw calls: on the shm mount, or where DIR is.
func rawPath(backend, dir string) string {
	if backend == "posix" {
		dir = "/dev/shm"
	}
	return filepath.Join(dir, fmt.Sprintf("%sraw-%d", side.Prefix(), os.Getpid()))
}

// rawCreate measures what a create and a detach ask of the system, and nothing else. Its arguments are BACKEND SIZE DIR.
func rawCreate(a side.Args) (*side.Work, error) {
	backend, size := a.List[0], a.Int(1)
	if backend == "sysv" {
		return &side.Work{Run: side.Loop(func(n int) error {
			return repeat(n, func() error { return rawSysV(size) })
		})}, nil
	}
	path := rawPath(backend, a.List[2])
	return &side.Work{Run: side.Loop(func(n int) error {
		return repeat(n, func() error { return rawCreateFile(path, size) })
	})}, nil
}

func repeat(n int, f func() error) error {
	for range n {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func rawCreateFile(path string, size int) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Fallocate(fd, 0, 0, int64(size)); err != nil {
		return err
	}
	p, err := unix.MmapPtr(fd, 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	unix.Close(fd)
	if err := unix.MunmapPtr(p, uintptr(size)); err != nil {
		return err
	}
	return unix.Unlink(path)
}

func rawSysV(size int) error {
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, size, unix.IPC_CREAT|unix.IPC_EXCL|0o600)
	if err != nil {
		return err
	}
	b, err := unix.SysvShmAttach(id, 0, 0)
	if err == nil {
		err = unix.SysvShmDetach(b)
	}
	if _, e := unix.SysvShmCtl(id, unix.IPC_RMID, nil); err == nil {
		err = e
	}
	return err
}

// rawAttach measures what an attach and a detach ask of the system, and nothing else. Its arguments are BACKEND SIZE DIR.
func rawAttach(a side.Args) (*side.Work, error) {
	backend, size := a.List[0], a.Int(1)
	if backend == "sysv" {
		id, err := unix.SysvShmGet(unix.IPC_PRIVATE, size, unix.IPC_CREAT|unix.IPC_EXCL|0o600)
		if err != nil {
			return nil, err
		}
		return &side.Work{Run: side.Loop(func(n int) error {
			return repeat(n, func() error {
				b, err := unix.SysvShmAttach(id, 0, 0)
				if err != nil {
					return err
				}
				return unix.SysvShmDetach(b)
			})
		}), Close: func() error { _, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil); return err }}, nil
	}
	path := rawPath(backend, a.List[2])
	if err := reserveFile(path, size); err != nil {
		return nil, err
	}
	return &side.Work{
		Run:   side.Loop(func(n int) error { return repeat(n, func() error { return rawAttachFile(path) }) }),
		Close: func() error { return os.Remove(path) },
	}, nil
}

func reserveFile(path string, size int) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), 0, 0, int64(size))
}

func rawAttachFile(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	p, err := unix.MmapPtr(fd, 0, nil, uintptr(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	return unix.MunmapPtr(p, uintptr(st.Size))
}
