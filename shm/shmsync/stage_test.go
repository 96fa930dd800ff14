package shmsync_test

import (
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// stage is what the processes of a test share: one of each structure, and numbers to judge them by. Process n is
// row n, with a real witness.
type stage struct {
	Lock    shmsync.LWLockWord
	Barrier shmsync.BarrierWord
	Latches [16]shmsync.LatchWord
	Cond    shmsync.Cond
	Count   shmsync.EventCount
	Mutex   shmsync.MutexWord
	_       [52]byte
	Mail    [4]shmsync.MailboxWord
	Data    [32]atomic.Uint64 // equal whenever no process writes
	Rounds  atomic.Uint64
	Wrong   atomic.Uint64
	Repairs atomic.Uint64
	Readers atomic.Uint64
	Stop    atomic.Uint32
	Numbers [20]atomic.Uint64
	Rows    [16]atomic.Uint32 // incarnations
}

const stageSize = 8192

func newStage(t testing.TB) (dir string, s *stage, me shmsync.Self) {
	t.Helper()
	dir = t.TempDir()
	b := newBytes(t, dir, stageSize)
	if err := liveness.Create(filepath.Join(dir, "members")); err != nil {
		t.Fatal(err)
	}
	s, me, roll, err := enterStage(dir, 0, b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(roll.Close)
	return dir, s, me
}

// onStage is the beginning of a helper: DIR ROW.
func onStage(c *proctest.Child) (s *stage, me shmsync.Self, row int, err error) {
	b, err := openBytes(c.Args[0], stageSize)
	if err != nil {
		return nil, me, 0, err
	}
	row, _ = strconv.Atoi(c.Args[1])
	s, me, _, err = enterStage(c.Args[0], row, b)
	return s, me, row, err
}

func enterStage(dir string, row int, b []byte) (s *stage, me shmsync.Self, roll *liveness.Roll, err error) {
	if s, err = shm.At[stage](shm.NewRegion(b), 0); err != nil {
		return nil, me, nil, err
	}
	me, roll, err = proctest.Enter(filepath.Join(dir, "members"), row, s.Rows[:])
	return s, me, roll, err
}

// kills is how many of so many are enough: fewer where waiters are late and processes start slowly.
func kills(all int) int {
	if testing.Short() || runtime.GOOS != "linux" {
		return all / 7
	}
	return all
}

func startOnStage(t testing.TB, helper, dir string, row int) *proctest.Process {
	t.Helper()
	p := proctest.Start(t, helper, dir, strconv.Itoa(row))
	p.Expect("ready")
	return p
}
