package pgx_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/pgtest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/jackc/pgx/v5"
)

// server is a private PostgreSQL, started by the first test that wants it. Only its unix socket listens.
type server struct {
	base    string
	command func(name string, args ...string) *exec.Cmd
	cmd     *exec.Cmd
	dead    chan struct{}
	n       atomic.Int64 // schemas
}

var (
	private = sync.OnceValues(start)
	folder  string // of the server
)

func TestMain(m *testing.M) {
	proctest.Helper()
	code := m.Run()
	if folder != "" {
		if s, err := private(); err == nil {
			s.stop()
		}
		_ = os.RemoveAll(folder)
	}
	os.Exit(code)
}

func start() (*server, error) {
	bin, err := pgtest.Programs()
	if err != nil {
		return nil, err
	}
	as, err := pgtest.Owner()
	if err != nil {
		return nil, err
	}
	if folder, err = os.MkdirTemp("", "batch"); err != nil {
		return nil, err
	}
	if as != nil {
		if err := os.Chown(folder, int(as.Uid), int(as.Gid)); err != nil {
			return nil, err
		}
	}
	s := &server{base: filepath.Join(folder, "data")}
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir = folder
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: as}
		return cmd
	}
	out, err := command("initdb", "-D", s.base, "-A", "trust", "-U", "test", "--no-sync", "--no-locale", "-E", "UTF8").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	s.command = command
	return s, s.run()
}

// run starts the server, and waits until it takes connections.
func (s *server) run() error {
	s.cmd = s.command("postgres", "-D", s.base, "-c", "unix_socket_directories="+folder, "-c", "listen_addresses=",
		"-c", "shared_buffers=64MB", "-c", "max_connections=60")
	log, err := os.OpenFile(filepath.Join(folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := pgtest.Spawn(s.cmd); err != nil {
		return err
	}
	dead := make(chan struct{})
	s.dead = dead
	go func() { _ = s.cmd.Wait(); close(dead) }()
	for {
		conn, err := pgx.Connect(context.Background(), s.dsn())
		if err == nil {
			return conn.Close(context.Background())
		}
		select {
		case <-dead:
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("the server has ended: %w: %s", err, text)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// restart ends the server as a crash would, and starts it again.
func (s *server) restart() error {
	s.stop()
	return s.run()
}

func (s *server) dsn() string { return "host=" + folder + " user=test dbname=postgres sslmode=disable" }

// stop ends the server at once.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGQUIT)
	<-s.dead
}

// place is a schema of a server, and how to connect to it.
type place struct {
	config *pgx.ConnConfig
	admin  *pgx.Conn
	trips  atomic.Int64
}

// newPlace makes a schema. It skips the test where there is no server.
func newPlace(t testing.TB) *place {
	s, err := private()
	if err != nil {
		t.Skip("skipped: " + err.Error())
	}
	schema := fmt.Sprint("s", s.n.Add(1))
	config, err := pgx.ParseConfig(s.dsn())
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["search_path"] = schema
	admin, err := pgx.ConnectConfig(t.Context(), config.Copy())
	if err != nil {
		t.Fatal(err)
	}
	p := &place{config: config, admin: admin}
	t.Cleanup(func() {
		_, err := p.admin.Exec(context.Background(), "DROP SCHEMA "+schema+" CASCADE")
		if err := errors.Join(err, p.admin.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
	for _, sql := range append([]string{"CREATE SCHEMA " + schema}, strings.Split(definitions, ";\n\n")...) {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	config.RuntimeParams["application_name"] = schema
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return &counted{Conn: conn, trips: &p.trips}, err
	}
	return p
}

// kill ends the connections of the driver.
func (p *place) kill() error {
	_, err := p.admin.Exec(context.Background(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
		p.config.RuntimeParams["application_name"])
	return err
}

// counted counts round trips: reads after a write.
type counted struct {
	net.Conn
	trips *atomic.Int64
	wrote atomic.Bool
}

func (c *counted) Write(b []byte) (int, error) {
	c.wrote.Store(true)
	return c.Conn.Write(b)
}

func (c *counted) Read(b []byte) (int, error) {
	if c.wrote.Swap(false) {
		c.trips.Add(1)
	}
	return c.Conn.Read(b)
}
