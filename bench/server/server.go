// Package server measures caches that are processes of their own, memcached and Redis, over a unix socket: what a program
// that has no shared memory asks instead.
package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/godsm/godsm/bench/debian"
)

// Program is a server that is installed here. It is installed when it is wanted first, if it is missing and that can be done.
type Program struct {
	Name    string // for people
	command string
	pack    string // the package of Debian
	once    sync.Once
	asked   bool
	missing error // why there is none
}

// Memcached returns the program of a memcached, as the system's package has it.
func Memcached() *Program {
	return &Program{Name: "memcached", command: "memcached", pack: "memcached"}
}

// Redis returns the program of a Redis, as the system's package has it.
func Redis() *Program {
	return &Program{Name: "Redis", command: "redis-server", pack: "redis-server"}
}

// Ready reports why the program is missing.
func (p *Program) Ready(ctx context.Context) error {
	p.once.Do(func() {
		p.asked = true
		if _, err := exec.LookPath(p.command); err == nil {
			return
		}
		if err := debian.Install(ctx, p.pack); err != nil {
			p.missing = fmt.Errorf("no %s: %w", p.Name, err)
		}
	})
	return p.missing
}

// Version returns the program's, or why there is none.
func (p *Program) Version() string {
	switch {
	case p == nil || !p.asked:
		return "not asked for"
	case p.missing != nil:
		return p.missing.Error()
	}
	out, err := exec.Command(p.command, "--version").Output()
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(out)) + "; one connection over a unix socket, a request at a time"
}

// Server is a running one. It is in the process group of the process that started it, and so ends with that if not before.
type Server struct {
	cmd *exec.Cmd
	dir string
	*Client
}

// Start starts the server of that name with so many megabytes for values, and connects to it.
func Start(name string, megabytes int) (*Server, error) {
	dir, err := os.MkdirTemp("", "godsm-bench-server")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "socket")
	var cmd *exec.Cmd
	if name == "memcached" {
		cmd = exec.Command("memcached", "-s", socket, "-m", fmt.Sprint(megabytes), "-u", "root", "-t", "1")
	} else {
		cmd = exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no",
			"--maxmemory", fmt.Sprintf("%dmb", megabytes), "--maxmemory-policy", "allkeys-lru", "--dir", dir)
	}
	s := &Server{cmd: cmd, dir: dir}
	if err := cmd.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	for end := time.Now().Add(10 * time.Second); ; {
		if s.Client, err = dial(socket, name == "memcached"); err == nil {
			return s, nil
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("%s does not listen: %w", name, s.Close())
		}
		time.Sleep(time.Millisecond)
	}
}

// Close ends the server.
func (s *Server) Close() error {
	if s.Client != nil {
		_ = s.conn.Close()
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	return os.RemoveAll(s.dir)
}
