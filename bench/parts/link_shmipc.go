//go:build linux && (amd64 || arm64)

package parts

import (
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/cloudwego/shmipc-go"
	"github.com/godsm/godsm/bench/side"
)

func init() {
	transports["shmipc"] = transport{lead: shmipcLead, join: shmipcJoin, connect: shmipcConnect}
}

// ipcStream is a link over a stream of shmipc-go, as it is configured by default: 32 MiB of buffers, in a memfd.
type ipcStream struct {
	dir     string
	manager *shmipc.SessionManager
	stream  *shmipc.Stream
	seen    bool // what was received last may be given back
}

func shmipcLead(int) (link, []string, []*os.File, error) {
	dir, err := os.MkdirTemp("", "godsm-bench-shmipc")
	l := &ipcStream{dir: dir}
	return l, []string{l.socket()}, nil, err
}

func (l *ipcStream) socket() string { return filepath.Join(l.dir, "socket") }

func shmipcJoin(p *side.Peer, _ int, address []string) (link, error) {
	listener, err := net.Listen("unix", address[0])
	if err != nil {
		return nil, err
	}
	p.Ready()
	c, err := listener.Accept()
	if err != nil {
		return nil, err
	}
	config := shmipc.DefaultConfig()
	config.LogOutput = io.Discard
	s, err := shmipc.Server(c, config)
	if err != nil {
		return nil, err
	}
	stream, err := s.AcceptStream()
	return &ipcStream{stream: stream}, err
}

func shmipcConnect(l link) (err error) {
	s := l.(*ipcStream)
	config := shmipc.DefaultSessionManagerConfig()
	config.LogOutput = io.Discard
	config.MemMapType = shmipc.MemMapTypeMemFd
	config.ShareMemoryPathPrefix = filepath.Join(s.dir, "memory")
	config.QueuePath = filepath.Join(s.dir, "queue")
	config.Network, config.Address, config.SessionNum = "unix", s.socket(), 1
	if s.manager, err = shmipc.NewSessionManager(config); err == nil {
		s.stream, err = s.manager.GetStream()
	}
	return err
}

func (l *ipcStream) send(msg []byte, n int, _ bool) error {
	for range n {
		if _, err := l.stream.BufferWriter().WriteBytes(msg); err != nil {
			return err
		}
		if err := l.stream.Flush(false); err != nil {
			return err
		}
	}
	return nil
}

func (l *ipcStream) receive(size int) ([]byte, error) {
	if l.seen {
		l.stream.BufferReader().ReleasePreviousRead()
	}
	l.seen = true
	return l.stream.BufferReader().ReadBytes(size)
}

func (l *ipcStream) receiveAll(size, n int) error {
	for range n {
		if _, err := l.receive(size); err != nil {
			return err
		}
	}
	return nil
}

func (l *ipcStream) close() error {
	err := l.manager.Close()
	os.RemoveAll(l.dir)
	return err
}
