//go:build linux || darwin || freebsd

package mq_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/internal/sys/filemap"
	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
	"golang.org/x/sys/unix"
)

// stage is what the processes of a test share: queues of one size, and who they are. Process n is
// row n, with a real witness.
type stage struct {
	dir    string
	n, len int
	self   shmsync.Self
	cast   *cast
	region shm.Region
}

type cast struct {
	Rows    [16]atomic.Uint32 // incarnations
	Numbers [16]atomic.Uint64
}

const castSize = 4096

func newStage(t testing.TB, queues, ring int) *stage {
	t.Helper()
	s := &stage{dir: t.TempDir(), n: queues, len: mq.Size(ring)}
	newFile(t, filepath.Join(s.dir, "stage"), s.size())
	b, err := s.mapped()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = filemap.Unmap(b) })
	if err := liveness.Create(filepath.Join(s.dir, "members")); err != nil {
		t.Fatal(err)
	}
	for i := range queues {
		must(mq.Create(must(shm.NewRegion(b).Sub(s.offset(i), s.len))))
	}
	roll, err := s.enter(0, b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(roll.Close)
	return s
}

func (s *stage) stride() int             { return (s.len + 63) &^ 63 }
func (s *stage) size() int               { return castSize + s.n*s.stride() }
func (s *stage) offset(i int) shm.Offset { return shm.Offset(castSize + i*s.stride()) }
func (s *stage) queue(i int) *mq.Queue {
	return must(mq.Attach(must(s.region.Sub(s.offset(i), s.len))))
}
func (s *stage) sender(i int) *mq.Sender { return must(s.queue(i).Sender(s.self)) }
func (s *stage) receiver(i int) *mq.Receiver {
	return must(s.queue(i).Receiver(s.self))
}

// conn is an end of a connection over queues i and i+1.
func (s *stage) conn(i int, first bool) *mq.Conn {
	if first {
		return must(mq.NewConn(s.sender(i), s.receiver(i+1)))
	}
	return must(mq.NewConn(s.sender(i+1), s.receiver(i)))
}

func (s *stage) mapped() ([]byte, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "stage"), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	return filemap.Map(fd, f.Name(), s.size(), true)
}

// onStage is the beginning of a helper: DIR ROW QUEUES LEN; the helper's own arguments follow.
func onStage(c *proctest.Child) (*stage, error) {
	s := &stage{dir: c.Args[0], n: number(c, 2), len: number(c, 3)}
	b, err := s.mapped()
	if err != nil {
		return nil, err
	}
	_, err = s.enter(number(c, 1), b)
	return s, err
}

func number(c *proctest.Child, i int) int {
	n, err := strconv.Atoi(c.Args[i])
	if err != nil {
		panic(err)
	}
	return n
}

func (s *stage) enter(row int, b []byte) (roll *liveness.Roll, err error) {
	s.region = shm.NewRegion(b)
	if s.cast, err = shm.At[cast](s.region, 0); err != nil {
		return nil, err
	}
	s.self, roll, err = proctest.Enter(filepath.Join(s.dir, "members"), row, s.cast.Rows[:])
	return roll, err
}

// start runs a helper as the process of that row.
func (s *stage) start(t testing.TB, helper string, row int, more ...any) *proctest.Process {
	t.Helper()
	p := proctest.Start(t, helper, s.args(row, more...)...)
	p.Expect("ready")
	return p
}

// args are those of a helper.
func (s *stage) args(row int, more ...any) []string {
	list := []string{s.dir, strconv.Itoa(row), strconv.Itoa(s.n), strconv.Itoa(s.len)}
	for _, a := range more {
		list = append(list, fmt.Sprint(a))
	}
	return list
}
