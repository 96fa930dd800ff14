package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/godsm/godsm/internal/testing/pgtest"
	"github.com/jackc/pgx/v5/pgconn"
)

// World is a kind of cluster.
type World string

const (
	Posix World = "posix" // by dynamic_shared_memory_type
	SysV  World = "sysv"
	Mmap  World = "mmap"
	Main  World = "main" // posix, and a region reserved at start (min_dynamic_shared_memory)
	Wide  World = "wide" // posix, with room for more than 10,000 segments (64 and 5 for each connection)
)

// Settings are those of all clusters, besides PostgreSQL's defaults.
const Settings = "shared_buffers = 64MB, autovacuum = off, jit = off, fsync = off, listen_addresses = ''"

// own returns the settings of one kind.
func (w World) own() []string {
	switch w {
	case Main:
		return []string{"dynamic_shared_memory_type=posix", "min_dynamic_shared_memory=64MB"}
	case Wide:
		return []string{"dynamic_shared_memory_type=posix", "max_connections=2100"}
	}
	return []string{"dynamic_shared_memory_type=" + string(w)}
}

// cluster is a throwaway one. Only its unix socket listens, in a folder that is its user's alone.
type cluster struct {
	base string
	cmd  *exec.Cmd
	dead chan struct{}
}

// command returns a command of PostgreSQL's that runs as its user, in a process group of its own.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.base
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.owner}
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	return cmd
}

func (s *Server) run(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, lastLines(out, 3))
	}
	return nil
}

func lastLines(b []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// start starts a cluster, and waits until it accepts connections.
func (s *Server) start(ctx context.Context, w World) (*cluster, error) {
	c := &cluster{base: filepath.Join(s.base, string(w)), dead: make(chan struct{})}
	initdb := s.command("initdb", "-D", c.base, "-A", "trust", "-U", "bench", "--no-sync", "--no-locale", "-E", "UTF8")
	if err := s.run(initdb); err != nil {
		return nil, err
	}
	args := []string{"-D", c.base, "-c", "unix_socket_directories=" + c.base, "-c",
		"dynamic_library_path=$libdir:" + s.extension, "-c", "max_worker_processes=16"}
	for _, setting := range append(strings.Split(Settings, ", "), w.own()...) {
		name, value, _ := strings.Cut(setting, "=")
		args = append(args, "-c", strings.TrimSpace(name)+"="+strings.Trim(value, " '"))
	}
	c.cmd = s.command("postgres", args...)
	log, err := os.Create(filepath.Join(s.base, string(w)+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := pgtest.Spawn(c.cmd); err != nil {
		return nil, err
	}
	go func() { _ = c.cmd.Wait(); close(c.dead) }()
	conn, err := c.connect(ctx)
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		return nil, errors.Join(fmt.Errorf("%w; its log ends: %s", err, lastLines(text, 3)), c.stop())
	}
	defer conn.Close(ctx)
	return c, conn.Exec(ctx, declarations).Close()
}

const declarations = `
CREATE FUNCTION bench_open(text, int, int, int, text, float8) RETURNS void AS 'godsm_bench' LANGUAGE C STRICT;
CREATE FUNCTION bench_round() RETURNS float8[] AS 'godsm_bench' LANGUAGE C STRICT;
CREATE FUNCTION bench_close() RETURNS void AS 'godsm_bench' LANGUAGE C STRICT;`

// connect waits until the cluster lets us in, as it does soon after its start and after a crash.
func (c *cluster) connect(ctx context.Context) (*pgconn.PgConn, error) {
	for end := time.Now().Add(30 * time.Second); ; {
		conn, err := pgconn.Connect(ctx, "host="+c.base+" user=bench dbname=postgres sslmode=disable")
		if err == nil {
			return conn, nil
		}
		select {
		case <-c.dead:
			return nil, fmt.Errorf("the server has ended: %w", err)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		default:
		}
		if time.Now().After(end) {
			return nil, err
		}
		time.Sleep(time.Millisecond)
	}
}

// stop ends the cluster: connections are broken off.
func (c *cluster) stop() error {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		_ = c.cmd.Process.Signal(sig)
		select {
		case <-c.dead:
			return nil
		case <-time.After(10 * time.Second):
		}
	}
	return errors.New("the server does not end")
}
