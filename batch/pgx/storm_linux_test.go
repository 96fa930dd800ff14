package pgx_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
	driver "github.com/godsm/godsm/batch/pgx"
	"github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/jackc/pgx/v5"
)

var ctx = context.Background()

var (
	storm     = flag.Duration("storm", 2*time.Second, "how long the storms last")
	processes = flag.Int("processes", 3, "how many processes hand in and lead in the storm of processes")
)

// TestStormOfServerFaults ends the backend every 200 ms, makes deadlocks, and restarts the server at once now and then, with
// strangers that take its transaction numbers. No caller sees an error, and each command is executed once.
func TestStormOfServerFaults(t *testing.T) {
	p := newPlace(t)
	s, _ := private()
	p.config.RuntimeParams["deadlock_timeout"] = "10ms"
	e := newEngine(t, p)
	over := make(chan struct{})
	var wg sync.WaitGroup
	var next, told atomic.Int64
	for range 16 {
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				id := int(next.Add(1))
				c := command{ID: id, Op: batchtest.Insert, Key: fmt.Sprint("k", id), Value: 1}
				if id > 100 && id%3 == 0 {
					c.Op, c.Key = batchtest.Add, fmt.Sprint("k", 1+id%10)
				}
				if _, err := e.Do(t.Context(), c); err != nil {
					t.Errorf("%v: %v", c, err)
					return
				}
				told.Add(1)
			}
		})
	}
	wg.Go(func() { // locks the same rows in the other order
		for {
			select {
			case <-over:
				return
			default:
			}
			conn, err := pgx.ConnectConfig(t.Context(), stranger(p))
			if err != nil {
				time.Sleep(5 * time.Millisecond)
				continue
			}
			for range 20 {
				_, _ = conn.Exec(t.Context(), "BEGIN")
				for _, k := range rand.Perm(10)[:3] {
					_, _ = conn.Exec(t.Context(), fmt.Sprintf("UPDATE rows SET second = second WHERE key = 'k%d'", k+1))
				}
				_, _ = conn.Exec(t.Context(), "COMMIT")
			}
			_ = conn.Close(t.Context())
		}
	})
	kills, restarts := 0, 0
	for end := time.Now().Add(*storm); time.Now().Before(end); {
		time.Sleep(200 * time.Millisecond)
		if kills++; kills%15 == 0 {
			restarts++
			if err := s.restart(); err != nil {
				t.Fatal(err)
			}
			var err error
			if p.admin, err = pgx.ConnectConfig(t.Context(), p.config.Copy()); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				p.exec(t, "INSERT INTO parents VALUES (gen_random_uuid()::text)")
			}
			continue
		}
		if err := p.kill(); err != nil {
			if p.admin, err = pgx.ConnectConfig(t.Context(), stranger(p)); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(over)
	wg.Wait()
	once(t, p, int(told.Load()), nil)
	t.Logf("%d backends ended, %d restarts: %d commands, %+v", kills-restarts, restarts, told.Load(), e.Stats())
}

// stranger is the configuration of a connection that kill does not end.
func stranger(p *place) *pgx.ConnConfig {
	config := p.config.Copy()
	config.RuntimeParams["application_name"] = "stranger"
	config.RuntimeParams["deadlock_timeout"] = "1s"
	return config
}

// once checks that no command was executed twice, and those of told once; n of them are at least there.
func once(t *testing.T, p *place, n int, told []int) {
	t.Helper()
	executed, _, err := p.state()
	if err != nil {
		t.Fatal(err)
	}
	times := map[int]int{}
	for _, id := range executed {
		if times[id]++; times[id] == 2 {
			t.Errorf("command %d was executed twice", id)
		}
	}
	for _, id := range told {
		if times[id] != 1 {
			t.Errorf("command %d was acknowledged, and executed %d times", id, times[id])
		}
	}
	if len(times) < n {
		t.Errorf("%d commands were acknowledged, %d executed", n, len(times))
	}
}

func asJSON[T any]() shared.Codec[T] {
	return shared.Codec[T]{
		Append: func(b []byte, v T) ([]byte, error) {
			text, err := json.Marshal(v)
			return append(b, text...), err
		},
		Parse: func(b []byte) (v T, err error) { return v, json.Unmarshal(b, &v) },
	}
}

func init() { proctest.Register("member", member) }

// openHere opens a session and a configuration for a process whose arguments begin with DIR DSN SCHEMA.
func openHere(c *proctest.Child) (*dsm.Session, *pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(c.Args[1])
	if err != nil {
		return nil, nil, err
	}
	config.RuntimeParams["search_path"] = c.Args[2]
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	return s, config, err
}

// member is a process that hands in and may lead: DIR DSN SCHEMA ACKNOWLEDGED FIRST.
func member(c *proctest.Child) error {
	s, config, err := openHere(c)
	if err != nil {
		return err
	}
	defer s.Close()
	q, err := join(s, config)
	if err != nil {
		return err
	}
	acknowledged, err := os.OpenFile(c.Args[3], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	first, _ := strconv.Atoi(c.Args[4])
	var next atomic.Int64
	errs := make(chan error, 8)
	for range 8 {
		go func() {
			for {
				id := first + int(next.Add(1))
				_, err := q.Do(ctx, command{ID: id, Op: batchtest.Insert, Key: fmt.Sprint("k", id), Value: 1})
				if err == nil {
					_, err = fmt.Fprintln(acknowledged, id)
				} else if batch.ExecutedOf(err) != batch.No {
					continue
				}
				if err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	return <-errs
}

func join(s *dsm.Session, config *pgx.ConnConfig) (*shared.Queue[command, result], error) {
	return joinWith(s, config, batchtest.Rules())
}

func joinWith(s *dsm.Session, config *pgx.ConnConfig, rules batch.Rules[command, result, batchtest.Op, string]) (*shared.Queue[command, result], error) {
	return shared.Open(ctx, s, "queue", asJSON[command](), asJSON[result](), rules,
		func() (batch.Driver[command, result], error) {
			return driver.New(config, func(c command) *statement { return statements[c.Op] },
				driver.Options{Idle: 2 * time.Second, Logger: slog.New(slog.DiscardHandler)}), nil
		}, shared.Options{Slots: 256, Lease: 500 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
}

// TestStormOfProcesses kills processes that hand in and lead, and stops them, inside their transactions, too.
func TestStormOfProcesses(t *testing.T) {
	p := newPlace(t)
	srv, _ := private()
	cfg := instancetest.Config(t, "posix")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	dir := t.TempDir()
	members := make([]*proctest.Process, *processes)
	n, kills, stops := 0, 0, 0
	begin := func(i int) {
		n++
		members[i] = proctest.Start(t, "member", cfg.Dir, srv.dsn(), p.config.RuntimeParams["search_path"],
			fmt.Sprint(dir, "/", n), fmt.Sprint(n*1000000))
	}
	for i := range members {
		begin(i)
	}
	for end := time.Now().Add(*storm); time.Now().Before(end); {
		time.Sleep(time.Duration(100+rand.IntN(200)) * time.Millisecond)
		i := rand.IntN(len(members))
		if stops++; stops%3 == 0 {
			m := members[i]
			_ = m.Cmd.Process.Signal(syscall.SIGSTOP)
			time.AfterFunc(1500*time.Millisecond, func() { _ = m.Cmd.Process.Signal(syscall.SIGCONT) })
			continue
		}
		kills++
		members[i].Kill()
		begin(i)
	}
	for _, m := range members {
		m.Kill()
	}
	q, err := join(s, p.config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Do(t.Context(), command{ID: 1, Op: batchtest.Insert, Key: "last", Value: 1}); err != nil {
		t.Error(err)
	}
	st, err := q.Stats()
	if err := errors.Join(err, q.Close(t.Context())); err != nil {
		t.Error(err)
	}
	var told []int
	for i := 1; i <= n; i++ {
		b, _ := os.ReadFile(fmt.Sprint(dir, "/", i))
		lines := strings.Split(string(b), "\n")
		for _, l := range lines[:len(lines)-1] {
			id, _ := strconv.Atoi(l)
			told = append(told, id)
		}
	}
	once(t, p, len(told), told)
	t.Logf("%d kills, %d stops: %d commands were acknowledged, %+v", kills, stops/3, len(told), st)
}

// TestSuccessorOfTheStoppedAndTheKilled ends or stops the process that leads while it writes, and measures until another
// one's command is acknowledged.
func TestSuccessorOfTheStoppedAndTheKilled(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		t.Run(signal.String(), func(t *testing.T) {
			p := newPlace(t)
			srv, _ := private()
			cfg := instancetest.Config(t, "posix")
			instancetest.Start(t, cfg)
			s := instancetest.Open(t, cfg)
			dir := t.TempDir()
			m := proctest.Start(t, "member", cfg.Dir, srv.dsn(), p.config.RuntimeParams["search_path"], dir+"/1", "1000000")
			for there := false; !there; { // it writes
				if err := p.admin.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM log)").Scan(&there); err != nil {
					t.Fatal(err)
				}
			}
			q, err := join(s, p.config)
			if err != nil {
				t.Fatal(err)
			}
			_ = m.Cmd.Process.Signal(signal)
			began := time.Now()
			if _, err := q.Do(t.Context(), command{ID: 1, Op: batchtest.Insert, Key: "next", Value: 1}); err != nil {
				t.Error(err)
			}
			t.Logf("acknowledged %v after it", time.Since(began).Round(time.Millisecond))
			if err := q.Close(t.Context()); err != nil {
				t.Error(err)
			}
			m.Kill()
			once(t, p, 1, []int{1})
		})
	}
}
