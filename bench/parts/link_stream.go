package parts

import (
	"io"
	"net"
	"os"

	"github.com/godsm/godsm/bench/side"
	"golang.org/x/sys/unix"
)

func init() {
	transports["pipe"] = transport{lead: pipeLead, join: pipeJoin}
	transports["unix"] = transport{lead: unixLead, join: unixJoin}
}

// stream is a link over files of the system: a write for each message; what is received is
// counted in bytes, in reads of up to 64 KiB.
type stream struct {
	w   io.WriteCloser
	r   io.ReadCloser
	buf []byte
}

func newStream(r io.ReadCloser, w io.WriteCloser) *stream {
	return &stream{w: w, r: r, buf: make([]byte, 1<<20)}
}

// pipeLead makes two pipes. They hold as much as the rings of others, if the system lets them.
func pipeLead(ring int) (link, []string, []*os.File, error) {
	theirs, out, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	in, back, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	for _, f := range []*os.File{out, back} {
		c, err := f.SyscallConn()
		if err != nil {
			return nil, nil, nil, err
		}
		_ = c.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, ring) })
	}
	return newStream(in, out), nil, []*os.File{theirs, back}, nil
}

// inherited returns a descriptor that was inherited, for the runtime's poller.
func inherited(fd uintptr, name string) (*os.File, error) {
	if err := unix.SetNonblock(int(fd), true); err != nil {
		return nil, err
	}
	return os.NewFile(fd, name), nil
}

func pipeJoin(p *side.Peer, _ int, _ []string) (link, error) {
	in, err := inherited(3, "in")
	if err != nil {
		return nil, err
	}
	back, err := inherited(4, "back")
	if err == nil {
		p.Ready()
	}
	return newStream(in, back), err
}

func unixLead(ring int) (link, []string, []*os.File, error) {
	fd, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fd[0]), "ours"), os.NewFile(uintptr(fd[1]), "theirs")
	defer ours.Close()
	c, err := socket(ours, ring)
	return newStream(c, c), nil, []*os.File{theirs}, err
}

func unixJoin(p *side.Peer, ring int, _ []string) (link, error) {
	c, err := socket(os.NewFile(3, "theirs"), ring)
	if err == nil {
		p.Ready()
	}
	return newStream(c, c), err
}

// socket returns a net.Conn whose buffer holds as much as the rings of others, as far as the system
// allows (net.core.wmem_max).
func socket(f *os.File, buffer int) (net.Conn, error) {
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c, c.(*net.UnixConn).SetWriteBuffer(buffer)
}

func (l *stream) send(msg []byte, n int, _ bool) error {
	for range n {
		if _, err := l.w.Write(msg); err != nil {
			return err
		}
	}
	return nil
}

func (l *stream) receive(size int) ([]byte, error) {
	_, err := io.ReadFull(l.r, l.buf[:size])
	return l.buf[:size], err
}

func (l *stream) receiveAll(size, n int) error {
	for left := size * n; left > 0; {
		k, err := l.r.Read(l.buf[:min(left, 64<<10)])
		if err != nil {
			return err
		}
		left -= k
	}
	return nil
}

func (l *stream) close() error {
	l.r.Close()
	l.w.Close()
	return nil
}
