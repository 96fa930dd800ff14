package swaptest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// Memory is what the sessions of a test share.
type Memory struct {
	// Largest is the size of the largest segment that there is room for, if it is not 0.
	Largest int

	mu       sync.Mutex
	last     uint64
	segments map[uint64]*segment
	ended    map[int]bool
}

type segment struct {
	file     *os.File
	size     int
	attached int
	pinned   bool
}

// New returns memory that has no segments at the end of the test, once all its sessions are closed and what they have
// pinned is not.
func New(t testing.TB) *Memory {
	m := &Memory{segments: map[uint64]*segment{}, ended: map[int]bool{}}
	t.Cleanup(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, s := range m.segments {
			_ = s.file.Close()
		}
	})
	return m
}

// Segments returns how many there are.
func (m *Memory) Segments() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.segments)
}

// NeedAddresses skips a test that truncates a segment where a fault does not tell its address: Go cannot tell such a
// fault from that of a nil pointer, which nothing contains.
func (m *Memory) NeedAddresses(t testing.TB) {
	t.Helper()
	f, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(f) }()
	b, err := unix.Mmap(f, 0, 1, unix.PROT_READ, unix.MAP_SHARED) // past the end of an empty file
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(b) }()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if _, told := recover().(interface{ Addr() uintptr }); !told {
			t.Skip("skipped: a fault does not tell its address here (qemu-user)")
		}
	}()
	runtime.KeepAlive(b[0])
}

// Truncate takes the bytes from under all mappings of a segment, from byte n on.
func (m *Memory) Truncate(handle uint64, n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.segments[handle]
	if s == nil {
		return errkind.NotFound
	}
	return s.file.Truncate(int64(n))
}

// Handles returns those of all segments.
func (m *Memory) Handles() (list []uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for h := range m.segments {
		list = append(list, h)
	}
	slices.Sort(list)
	return list
}

// Session is a source of segments for one session.
type Session struct {
	memory *Memory
	row    int
	view   *shm.View
	// Checked says that bytes which have ended become inaccessible, as in checked mode.
	Checked bool
	// Unmap says that a detached segment is unmapped, and its addresses are free for what is mapped next.
	Unmap bool

	calls    sync.RWMutex // read while one of Create, Attach and Pin is under way
	closing  bool         // under calls: they are refused
	mu       sync.Mutex
	attached []*attachment
}

// Session returns a new session in a row that no other has.
func (m *Memory) Session(row int) *Session {
	return &Session{memory: m, row: row, view: shm.NewView(nil)}
}

// Self returns the session among those of the memory. It is alive until Close.
func (s *Session) Self() shmsync.Self {
	return shmsync.Self{Peer: shmsync.Peer{Row: s.row, Incarnation: 1}, Alive: s.memory.alive, View: s.view,
		Checked: s.Checked}
}

func (m *Memory) alive(p shmsync.Peer) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return p.Incarnation == 1 && !m.ended[p.Row]
}

// End ends the views of all that the session has attached, once calls in flight are over.
func (s *Session) End() {
	s.calls.Lock()
	s.closing = true
	s.calls.Unlock()
	s.view.End()
}

// Swap swaps it for private zeros, the oldest first, as package dsm does. The session is dead then.
func (s *Session) Swap() {
	for s.SwapNext(true) {
	}
	s.memory.mu.Lock()
	s.memory.ended[s.row] = true
	s.memory.mu.Unlock()
}

// Mapped returns how many segments the session has mapped that are not swapped yet.
func (s *Session) Mapped() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.attached {
		a.mu.Lock()
		if !a.swapped {
			n++
		}
		a.mu.Unlock()
	}
	return n
}

// SwapNext swaps one segment more, the oldest or the newest that is left, and reports whether there was one.
func (s *Session) SwapNext(oldest bool) bool {
	s.mu.Lock()
	list := slices.Clone(s.attached)
	s.mu.Unlock()
	if !oldest {
		slices.Reverse(list)
	}
	for _, a := range list {
		if a.swap() {
			return true
		}
	}
	return false
}

// Close ends the session as package dsm does: the views end, then what OnDetach was given is called, newest first, and
// the bytes are swapped.
func (s *Session) Close() error {
	s.End()
	s.mu.Lock()
	list := slices.Clone(s.attached)
	s.mu.Unlock()
	var errs []error
	for _, a := range slices.Backward(list) {
		errs = append(errs, a.Detach())
	}
	s.Swap()
	return errors.Join(errs...)
}

// attachment is a dsa.Segment.
type attachment struct {
	session *Session
	handle  uint64
	bytes   []byte
	view    *shm.View
	unwait  func()

	mu       sync.Mutex
	hooks    []*func()
	detached bool
	swapped  bool
}

// Create implements dsa.SegmentSource.
func (s *Session) Create(_ context.Context, size int) (dsa.Segment, error) {
	if most := s.memory.Largest; most > 0 && size > most {
		return nil, errkind.As(errkind.NoSpace, fmt.Errorf("%d bytes, of at most %d", size, most))
	}
	fd, err := unix.MemfdCreate("swaptest", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "swaptest")
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	m := s.memory
	m.mu.Lock()
	m.last++
	h := m.last
	m.segments[h] = &segment{file: f, size: size}
	m.mu.Unlock()
	a, err := s.Attach(context.Background(), h)
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.drop(h)
	}
	return a, err
}

// Attach implements dsa.SegmentSource.
func (s *Session) Attach(_ context.Context, handle uint64) (dsa.Segment, error) {
	s.calls.RLock()
	defer s.calls.RUnlock()
	if s.closing {
		return nil, errkind.Closed
	}
	m := s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.segments[handle]
	if g == nil {
		return nil, errkind.As(errkind.NotFound, fmt.Errorf("no segment %d", handle))
	}
	b, err := unix.Mmap(int(g.file.Fd()), 0, g.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	g.attached++
	a := &attachment{session: s, handle: handle, bytes: b, view: shm.NewView(b)}
	a.unwait = s.view.OnEnd(a.view.End)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached = append(s.attached, a)
	return a, nil
}

// Unpin implements dsa.SegmentSource.
func (s *Session) Unpin(_ context.Context, handle uint64) error {
	m := s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.segments[handle]
	if g == nil || !g.pinned {
		return errkind.As(errkind.NotFound, fmt.Errorf("segment %d is not there, or not pinned", handle))
	}
	g.pinned = false
	m.drop(handle)
	return nil
}

func (m *Memory) drop(handle uint64) {
	if g := m.segments[handle]; g.attached == 0 && !g.pinned {
		delete(m.segments, handle)
		_ = g.file.Close()
	}
}

func (a *attachment) Handle() uint64 { return a.handle }

func (a *attachment) View() *shm.View { return a.view }

func (a *attachment) With(f func([]byte) error) error {
	if a.view.Ended() {
		return errkind.Closed
	}
	return f(a.bytes)
}

func (a *attachment) Pin(context.Context) error {
	s := a.session
	s.calls.RLock()
	defer s.calls.RUnlock()
	if s.closing || a.view.Ended() {
		return errkind.Closed
	}
	m := s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.segments[a.handle].pinned = true
	return nil
}

func (a *attachment) OnDetach(f func()) (cancel func() bool) {
	a.mu.Lock()
	if a.detached {
		a.mu.Unlock()
		f()
		return func() bool { return false }
	}
	a.hooks = append(a.hooks, &f)
	a.mu.Unlock()
	return func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		i := slices.Index(a.hooks, &f)
		if i < 0 {
			return false
		}
		a.hooks = slices.Delete(a.hooks, i, i+1)
		return true
	}
}

func (a *attachment) Detach() error {
	a.mu.Lock()
	if a.detached {
		a.mu.Unlock()
		return nil
	}
	a.detached = true
	hooks := a.hooks
	a.hooks = nil
	a.mu.Unlock()
	a.view.End()
	a.unwait()
	for _, f := range slices.Backward(hooks) {
		(*f)()
	}
	a.view.Drain(func() { a.swap() })
	return nil
}

// swap ends the bytes. It reports whether that had not come yet.
func (a *attachment) swap() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.swapped {
		return false
	}
	a.swapped = true
	s := a.session
	if s.Unmap {
		shm.Forget(a.bytes)
		if err := unix.Munmap(a.bytes); err != nil {
			panic(err)
		}
	} else if err := swapped(a.bytes, s.Checked); err != nil {
		panic(err)
	}
	m := s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.segments[a.handle].attached--
	m.drop(a.handle)
	return true
}

// Map returns the bytes of a segment for a stray store, until the end of the test.
func (m *Memory) Map(t testing.TB, handle uint64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.segments[handle]
	if g == nil {
		return nil, errkind.NotFound
	}
	b, err := unix.Mmap(int(g.file.Fd()), 0, g.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err == nil {
		t.Cleanup(func() { _ = unix.Munmap(b) })
	}
	return b, err
}
