package shared

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

var ctx = context.Background()

func TestMain(m *testing.M) { proctest.Main(m) }

// A command is a number that is logged when it is executed; it returns how many were logged before it. Key 0 is none.
type command struct{ id, key, add uint64 }

const (
	refused = 1 << 40 // this bit of a command's number: it is a bad row
	reads   = 1 << 41 // it is a read
)

var commands = Codec[command]{
	Append: func(b []byte, c command) ([]byte, error) {
		for _, v := range []uint64{c.id, c.key, c.add} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		return b, nil
	},
	Parse: func(b []byte) (c command, err error) {
		return command{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])}, nil
	},
}

var numbers = Codec[uint64]{
	Append: func(b []byte, v uint64) ([]byte, error) { return binary.LittleEndian.AppendUint64(b, v), nil },
	Parse:  func(b []byte) (uint64, error) { return binary.LittleEndian.Uint64(b), nil },
}

var rules = batch.Rules[command, uint64, int, uint64]{
	Key:  func(c command) (uint64, bool) { return c.key, c.key != 0 },
	Read: func(c command) bool { return c.id&reads != 0 },
}

// A journal is a database: a file of lines, each the begin of a leader's term, or a transaction. It is locked for single
// steps only, so that a leader that is stopped can be deposed at any moment.
type journal struct {
	path   string
	name   string
	number uint64

	at    int64 // how far the file has been read, and what it said
	epoch uint64
	by    uint64
	last  uint64

	mu     sync.Mutex
	fail   func(op string) error // before each step; nil: never
	closed bool
}

var errLost = errors.New("the connection is lost")

// line is a line of the file.
type line struct {
	name  string
	term  bool
	epoch uint64
	flush uint64
	ids   []uint64
}

func (j *journal) step(op string) error {
	j.mu.Lock()
	fail := j.fail
	j.mu.Unlock()
	if fail != nil {
		return fail(op)
	}
	return nil
}

// read returns the lines of the file.
func read(f io.Reader) (lines []line) {
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		fields := strings.Fields(in.Text())
		l := line{name: fields[1], term: fields[0] == "lead"}
		fmt.Sscan(fields[2], &l.epoch)
		if !l.term {
			fmt.Sscan(fields[3], &l.flush)
			for _, f := range fields[4:] {
				var id uint64
				fmt.Sscan(f, &id)
				l.ids = append(l.ids, id)
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// under runs f with the file locked, and with what a driver's row would say.
func (j *journal) under(f func(file *os.File) error) error {
	file, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := lock(file); err != nil {
		return err
	}
	if _, err := file.Seek(j.at, io.SeekStart); err != nil {
		return err
	}
	for _, l := range read(file) {
		switch {
		case l.name != j.name:
		case l.term:
			j.epoch = l.epoch
		case l.flush > 0:
			j.by, j.last = l.epoch, l.flush
		}
	}
	if j.at, err = file.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	return f(file)
}

func (j *journal) Lead(_ context.Context, name string, number uint64, old string) (by, flush uint64, err error) {
	j.name, j.number, j.at, j.epoch, j.by, j.last = name, number, 0, 0, 0, 0
	if err := j.step("lead"); err != nil {
		return 0, 0, err
	}
	err = j.under(func(file *os.File) error {
		if by, flush = j.by, j.last; j.epoch >= number {
			return batch.ErrDeposed
		}
		_, err := fmt.Fprintln(file, "lead", name, number)
		return err
	})
	return by, flush, err
}

func (j *journal) Backend() string { return "journal" }

func (j *journal) Begin(_ context.Context, flush uint64) (batch.Tx[command, uint64], error) {
	return &entry{j: j, flush: flush}, j.step("begin")
}

func (j *journal) Settle(_ context.Context, flush uint64) (committed bool, err error) {
	if err := j.step("settle"); err != nil {
		return false, err
	}
	err = j.under(func(*os.File) error {
		if j.by > j.number {
			return batch.ErrUnsettled
		}
		committed = j.by == j.number && j.last >= flush
		return nil
	})
	return committed, err
}

func (j *journal) Class(err error) batch.Class {
	switch {
	case errors.Is(err, errLost):
		return batch.Lost
	case errors.Is(err, batch.ErrDeposed):
		return batch.Fatal
	}
	return batch.Row
}

func (j *journal) Close(context.Context) error { j.closed = true; return nil }

// entry is a transaction of a journal.
type entry struct {
	j     *journal
	flush uint64
	ids   []uint64
}

var errRefused = errors.New("the command is refused")

func (t *entry) Run(_ context.Context, steps []batch.Step[command, uint64], guard bool) (lo, hi int, err error) {
	if err := t.j.step("run"); err != nil {
		return 0, len(steps[0].Cmds), err
	}
	was := len(t.ids)
	for _, s := range steps {
		for i, c := range s.Cmds {
			if c.id&refused != 0 {
				if guard {
					t.ids = t.ids[:was]
				}
				return lo, lo + len(s.Cmds), errRefused
			}
			s.Res[i] = c.id + c.add
			if c.id&reads == 0 {
				t.ids = append(t.ids, c.id)
			}
		}
		lo += len(s.Cmds)
	}
	return 0, 0, nil
}

func (t *entry) Interact(ctx context.Context, do func(context.Context, any) error) error {
	return do(ctx, t)
}
func (t *entry) Alive() bool              { return true }
func (t *entry) Rollback(context.Context) {}

func (t *entry) Commit(context.Context) error {
	if err := t.j.step("commit"); err != nil {
		return err
	}
	err := t.j.under(func(file *os.File) error {
		if t.j.epoch != t.j.number {
			return batch.ErrDeposed
		}
		if t.flush == 0 {
			return nil
		}
		text := fmt.Sprint("commit ", t.j.name, " ", t.j.number, " ", t.flush)
		for _, id := range t.ids {
			text += fmt.Sprint(" ", id)
		}
		_, err := file.WriteString(text + "\n")
		return err
	})
	if err == nil {
		err = t.j.step("committed")
	}
	return err
}

// executions returns how often each command was executed, in a journal file.
func executions(t testing.TB, path string) map[uint64]int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	times := map[uint64]int{}
	for _, l := range read(f) {
		for _, id := range l.ids {
			times[id]++
		}
	}
	return times
}

// A world is a queue in ordinary memory, and sessions that can be declared dead.
type world struct {
	t      testing.TB
	region shm.Region
	mail   []shmsync.MailboxWord
	boxes  [8]atomic.Pointer[shmsync.Mailbox]
	dead   [8]atomic.Bool
	path   string
	made   bool
	o      Options
}

func newWorld(t testing.TB, o Options) *world {
	o = o.withDefaults()
	o.Logger = slog.New(slog.DiscardHandler)
	s, err := o.shape()
	if err != nil {
		t.Fatal(err)
	}
	words := make([]uint64, s.end/8+1)
	return &world{t: t, region: shm.NewRegion(bytesOf(words)), mail: make([]shmsync.MailboxWord, 8), path: t.TempDir() + "/journal", o: o}
}

// memory is the queue as the session of that row sees it.
func (w *world) memory(row int) *memory {
	self := shmsync.Self{Peer: shmsync.Peer{Row: row, Incarnation: 1}, Alive: func(p shmsync.Peer) bool {
		return p.Row >= len(w.dead) || !w.dead[p.Row].Load()
	}}
	box := w.boxes[row].Load()
	if box == nil {
		box = shmsync.NewMailbox(w.mail, nil, self)
		w.boxes[row].Store(box)
	}
	self.Mailbox = box
	make := attach
	if !w.made {
		w.made, make = true, create
	}
	m, err := make(w.region, self, w.o)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// open opens the queue as the session of that row. It may lead if j is not nil.
func (w *world) open(row int, j *journal) *Queue[command, uint64] {
	w.t.Helper()
	return w.openWith(row, j, rules)
}

func (w *world) openWith(row int, j *journal, rules batch.Rules[command, uint64, int, uint64]) *Queue[command, uint64] {
	w.t.Helper()
	var d Driver[command, uint64]
	if j != nil {
		d = func() (batch.Driver[command, uint64], error) { return j, nil }
	}
	q, err := open(w.memory(row), commands, numbers, rules, d, w.o)
	if err != nil {
		w.t.Fatal(err)
	}
	return q
}

// die declares a session dead, and tells the others as a session would.
func (w *world) die(row int) {
	w.dead[row].Store(true)
	for i := range w.boxes {
		if i != row {
			w.boxes[i].Load().Nudge()
		}
	}
}

func closed(t testing.TB, qs ...*Queue[command, uint64]) {
	t.Helper()
	for _, q := range qs {
		if err := q.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}
