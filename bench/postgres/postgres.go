// Package postgres measures PostgreSQL itself: a C extension of our own, on throwaway clusters,
// does in a backend what the other sides do.
package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/godsm/godsm/bench/debian"
	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/internal/testing/pgtest"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed extension
var extension embed.FS

// Server is a PostgreSQL that is installed here. A cluster of it is started when a part of the bench first asks for one.
type Server struct {
	name      string
	bin       string
	base      string // a folder for the clusters
	extension string
	owner     *syscall.Credential
	dir       string
	once      sync.Once
	missing   error // why there is none

	mu       sync.Mutex
	clusters map[World]*cluster
}

// New returns the PostgreSQL of this machine. When it is wanted first it is looked for, installed if
// it is missing and that can be done, and the extension is built, all in dir, which its servers'
// user must be able to enter. If that fails, every Open says why.
func New(dir string) *Server {
	return &Server{name: "PostgreSQL", dir: dir, clusters: map[World]*cluster{}}
}

func (s *Server) find(ctx context.Context) (err error) {
	if _, err = config("--pgxs"); err != nil {
		if e := debian.Install(ctx, "postgresql", "postgresql-server-dev-all"); e != nil {
			return fmt.Errorf("no PostgreSQL with its server's header files: %w", e)
		}
	}
	version, err := config("--version")
	if err != nil {
		return err
	}
	pgxs, err := config("--pgxs")
	if err == nil {
		_, err = os.Stat(pgxs)
	}
	if errors.Is(err, os.ErrNotExist) {
		if err = debian.Install(ctx, "postgresql-server-dev-"+major(version)); err != nil {
			return fmt.Errorf("no header files of PostgreSQL's server: %w", err)
		}
	}
	if s.bin, err = config("--bindir"); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.bin, "postgres")); err != nil {
		if err := debian.Install(ctx, "postgresql-"+major(version)); err != nil {
			return fmt.Errorf("no PostgreSQL server: %w", err)
		}
	}
	s.name = "PostgreSQL " + major(version)
	if s.owner, err = pgtest.Owner(); err != nil {
		return err
	}
	if s.base, err = os.MkdirTemp(s.dir, "pg"); err != nil {
		return err
	}
	s.extension = filepath.Join(s.base, "extension")
	if err := os.CopyFS(s.base, extension); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "make", "-s", "-C", s.extension, "with_llvm=no")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the extension: %w: %s", err, lastLines(out, 5))
	}
	if s.owner != nil {
		return filepath.WalkDir(s.base, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(path, int(s.owner.Uid), int(s.owner.Gid))
		})
	}
	return nil
}

func config(option string) (string, error) {
	out, err := exec.Command("pg_config", option).Output()
	return strings.TrimSpace(string(out)), err
}

var number = regexp.MustCompile(`\d+`)

func major(version string) string { return number.FindString(version) }

// Name is "PostgreSQL" and, when it has been found, its major version.
func (s *Server) Name() string { return s.name }

// Version returns the server's whole version, or why there is none.
func (s *Server) Version() string {
	if s.missing != nil {
		return s.missing.Error()
	}
	if s.base == "" {
		return "not asked for"
	}
	v, _ := config("--version")
	return v
}

func (s *Server) cluster(ctx context.Context, w World) (*cluster, error) {
	if s.once.Do(func() { s.missing = s.find(ctx) }); s.missing != nil {
		return nil, s.missing
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clusters[w]; c != nil {
		return c, nil
	}
	c, err := s.start(ctx, w)
	if err == nil {
		s.clusters[w] = c
	}
	return c, err
}

// Stop ends all clusters and removes them.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, c := range s.clusters {
		errs = append(errs, c.stop())
	}
	s.clusters = map[World]*cluster{}
	if s.base != "" {
		errs = append(errs, os.RemoveAll(s.base))
	}
	return errors.Join(errs...)
}

// Open makes a backend ready to measure that kind of work (see the extension's open functions).
func (s *Server) Open(ctx context.Context, w World, kind string, pin side.Pin, target time.Duration,
	args ...int) (side.Side, error) {
	c, err := s.cluster(ctx, w)
	if err != nil {
		return nil, err
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	var a [3]int
	copy(a[:], args)
	open := fmt.Sprintf("SELECT bench_open('%s', %d, %d, %d, '%s', %d)",
		kind, a[0], a[1], a[2], pin, target.Nanoseconds())
	if err := exec1(ctx, conn, open); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return backend{conn}, nil
}

func exec1(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	return conn.Exec(ctx, sql).Close()
}

type backend struct{ conn *pgconn.PgConn }

func (b backend) Round(ctx context.Context) ([]float64, error) {
	results, err := b.conn.Exec(ctx, "SELECT bench_round()").ReadAll()
	if err != nil {
		return nil, err
	}
	var numbers []float64
	for text := range strings.SplitSeq(strings.Trim(string(results[0].Rows[0][0]), "{}"), ",") {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

func (b backend) Close() error {
	ctx := context.Background()
	return errors.Join(exec1(ctx, b.conn, "SELECT bench_close()"), b.conn.Close(ctx))
}

// OpenAmong does what Open does, while so many idle connections of others exist.
func (s *Server) OpenAmong(ctx context.Context, w World, others int, kind string, pin side.Pin, target time.Duration,
	args ...int) (side.Side, error) {
	c, err := s.cluster(ctx, w)
	if err != nil {
		return nil, err
	}
	crowd := crowd{}
	for range others {
		conn, err := c.connect(ctx)
		if err != nil {
			return nil, errors.Join(err, crowd.Close())
		}
		crowd.others = append(crowd.others, conn)
	}
	if crowd.Side, err = s.Open(ctx, w, kind, pin, target, args...); err != nil {
		return nil, errors.Join(err, crowd.Close())
	}
	return crowd, nil
}

type crowd struct {
	side.Side
	others []*pgconn.PgConn
}

func (c crowd) Close() error {
	var errs []error
	if c.Side != nil {
		errs = append(errs, c.Side.Close())
	}
	for _, conn := range c.others {
		errs = append(errs, conn.Close(context.Background()))
	}
	return errors.Join(errs...)
}

// Crashes kills a backend that holds a segment, n times, and returns how long it took each time
// until the server, which then starts all its processes again, accepts a connection.
func (s *Server) Crashes(ctx context.Context, w World, n int) (took []time.Duration, err error) {
	c, err := s.cluster(ctx, w)
	if err != nil {
		return nil, err
	}
	for range n {
		conn, err := c.connect(ctx)
		if err != nil {
			return nil, err
		}
		if err := exec1(ctx, conn, "SELECT bench_open('create held', 4096, 1, 0, '', 0)"); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := syscall.Kill(int(conn.PID()), syscall.SIGKILL); err != nil {
			return nil, err
		}
		select { // the connection's end: before that the postmaster could still accept a connection
		case <-closed(conn):
		case <-time.After(10 * time.Second):
			return nil, errors.New("a killed backend's connection does not end")
		}
		_ = conn.Close(ctx)
		if err := c.answer(ctx); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
	}
	return took, nil
}

// answer waits until the cluster answers a query. It may still accept a connection that it then
// breaks off with all the others.
func (c *cluster) answer(ctx context.Context) error {
	for tries := 1; ; tries++ {
		conn, err := c.connect(ctx)
		if err != nil {
			return err
		}
		err = exec1(ctx, conn, "SELECT 1")
		_ = conn.Close(ctx)
		if err == nil || tries == 100 {
			return err
		}
	}
}

// closed returns a channel that is closed when the server has closed its end of the connection.
func closed(conn *pgconn.PgConn) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		for b := make([]byte, 100); ; {
			if _, err := conn.Conn().Read(b); err != nil {
				return
			}
		}
	}()
	return over
}
