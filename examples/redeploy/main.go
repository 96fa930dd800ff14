//go:build unix

// Command redeploy replaces every process of a service while it runs, several times, and loses no request and no memory.
//
// The service is HTTP, by workers that share one cache; a leader starts them, and a supervisor owns the memory. This command is the
// service manager and the clients in one: it holds the listening socket, as systemd does for a socket unit, starts the
// processes from its own program, asks for pages all the time, and replaces what it has started. Once it kills the supervisor in
// the middle, and once it ends all processes before it starts new ones. It ends with status 1 when a count is wrong.
//
//	go run ./examples/redeploy
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
)

func main() {
	log.SetFlags(0)
	parallel.Main()
	role := run
	if len(os.Args) > 1 {
		role = map[string]func() error{"supervise": supervise, "serve": lead}[os.Args[1]]
	}
	if err := role(); err != nil {
		log.Fatal(err)
	}
}

// service is what this command has started.
type service struct {
	dir      string
	listener *os.File
	load     *load

	supervisor, servers *process
	version             int
}

func run() error {
	dir, err := os.MkdirTemp("", "redeploy")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	file, err := inheritable(l.(*net.TCPListener))
	if err != nil {
		return err
	}
	address := l.Addr().String()
	_ = l.Close() // file is the same socket
	s := &service{dir: dir, listener: file, load: newLoad(address, dir)}
	defer func() {
		for _, p := range []*process{s.servers, s.supervisor} { // by the end of their standard input
			if p != nil {
				_ = p.end(nil)
			}
		}
	}()
	return s.play()
}

// inheritable returns the socket as a file for new processes. Its own method File would do for one process alone: to start another
// with that file makes the socket blocking, for all who have it, and then a server can't be told to stop accepting.
func inheritable(l *net.TCPListener) (file *os.File, err error) {
	conn, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	cerr := conn.Control(func(fd uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		var twin int
		if twin, err = syscall.Dup(int(fd)); err == nil {
			syscall.CloseOnExec(twin)
			file = os.NewFile(uintptr(twin), "listener")
		}
	})
	return file, errors.Join(err, cerr)
}

// play runs the service through its life, under load: each of its parts is replaced. It returns what failed, in a request too.
func (s *service) play() (err error) {
	if err := errors.Join(s.newSupervisor(), s.newServers()); err != nil {
		return err
	}
	stop := s.load.run()
	defer func() { err = errors.Join(err, stop(), s.load.verdict()) }()
	if err := s.load.warm(); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"the supervisor leaves, another one comes", func() error { return errors.Join(s.supervisor.end(syscall.SIGTERM), s.newSupervisor()) }},
		{"new servers come, the old ones drain", s.replaceServers},
		{"the supervisor is killed in the middle of that", func() error {
			old := s.supervisor
			killed := time.AfterFunc(20*time.Millisecond, func() { _ = old.cmd.Process.Kill() })
			defer killed.Stop()
			err := s.replaceServers()
			_ = old.cmd.Process.Kill()
			_ = old.end(nil) // how it ended is known
			return errors.Join(err, s.newSupervisor())
		}},
		{"no process is left for a moment", func() error {
			return errors.Join(s.servers.end(syscall.SIGTERM), s.supervisor.end(syscall.SIGTERM), s.newSupervisor(), s.newServers())
		}},
		{"the supervisor leaves while servers are replaced", func() error {
			left := make(chan error, 1)
			old := s.supervisor
			go func() { left <- old.end(syscall.SIGTERM) }()
			return errors.Join(s.replaceServers(), <-left, s.newSupervisor())
		}},
	} {
		if err := s.load.around(step.name, step.do); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (s *service) newSupervisor() (err error) {
	s.supervisor, err = start("supervise", s.dir)
	return err
}

func (s *service) newServers() (err error) {
	s.version++
	s.servers, err = start("serve", s.dir, fmt.Sprint("v", s.version), s.listener)
	return err
}

// replaceServers starts the next version, and ends the one before it when that accepts.
func (s *service) replaceServers() error {
	old := s.servers
	if err := s.newServers(); err != nil {
		s.servers = old
		return err
	}
	return old.end(syscall.SIGTERM)
}

// process is one that this command has started, and that has said that it is ready.
type process struct {
	cmd   *exec.Cmd
	stdin interface{ Close() error }
}

// start starts this program in a role, with strings as arguments and files to inherit, and waits for a line.
func start(role string, more ...any) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, role)
	for _, x := range more {
		switch x := x.(type) {
		case string:
			cmd.Args = append(cmd.Args, x)
		case *os.File:
			cmd.ExtraFiles = append(cmd.ExtraFiles, x)
		}
	}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd, stdin}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		return nil, errors.Join(fmt.Errorf("%s says %q: %w", role, line, err), p.end(os.Kill))
	}
	return p, nil
}

// end tells a process to end, by a signal or by the end of its standard input, and waits for that.
func (p *process) end(how os.Signal) error {
	if how == nil {
		_ = p.stdin.Close()
	} else if err := p.cmd.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	err := p.cmd.Wait()
	if err != nil && p.cmd.ProcessState == nil {
		return nil // it has been waited for
	}
	return err
}

// untilTold prints that the process is ready and waits: for SIGTERM, at which it is to leave its work to another one, or for
// the end of its standard input. It reports whether it was SIGTERM.
func untilTold() (leave bool) {
	told, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	over := make(chan struct{})
	go func() { _, _ = os.Stdin.Read(make([]byte, 1)); close(over) }()
	fmt.Println("ready")
	select {
	case <-told.Done():
		return true
	case <-over:
		return false
	}
}

func config(dir string) dsm.Config {
	return dsm.Config{Dir: dir, Settings: map[string]string{"max_processes": "32"}}
}
