package pgx_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
	"github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/jackc/pgx/v5"
)

// cached is a process that writes rows through the queue, and reads them through a cache that all processes share.
type cached struct {
	queue *shared.Queue[command, result]
	cache *cache.Cache
	conn  *pgx.Conn
}

func openCached(s *dsm.Session, config *pgx.ConnConfig) (*cached, error) {
	values, err := cache.Open(ctx, s, "values", cache.Options{Limit: 8 << 20})
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return nil, err
	}
	rules := batchtest.Rules()
	rules.Written = func(cmds []command) {
		for _, c := range cmds {
			if _, err := values.Delete(ctx, []byte(c.Key)); err != nil {
				panic(err)
			}
		}
	}
	q, err := joinWith(s, config, rules)
	return &cached{q, values, conn}, err
}

// value returns the value of a row.
func (p *cached) value(key string) (string, error) {
	v, err := p.cache.Load(ctx, []byte(key), nil, func(ctx context.Context) ([]byte, error) {
		var n int64
		err := p.conn.QueryRow(ctx, "SELECT value FROM rows WHERE key = $1", key).Scan(&n)
		return fmt.Append(nil, n), err
	})
	return string(v), err
}

func (p *cached) set(id int, key string, value int64) error {
	_, err := p.queue.Do(ctx, command{ID: id, Op: batchtest.Upsert, Key: key, Value: value})
	return err
}

func (p *cached) close() error {
	return errors.Join(p.queue.Close(ctx), p.conn.Close(ctx))
}

func init() { proctest.Register("cached", cachedProcess) }

// cachedProcess answers "get KEY" and "set ID KEY VALUE": DIR DSN SCHEMA.
func cachedProcess(c *proctest.Child) error {
	s, config, err := openHere(c)
	if err != nil {
		return err
	}
	defer s.Close()
	p, err := openCached(s, config)
	if err != nil {
		return err
	}
	c.Say("ready")
	for line, ok := c.Hear(); ok; line, ok = c.Hear() {
		var id int
		var key string
		var value int64
		answer := ""
		if rest, is := strings.CutPrefix(line, "set "); is {
			if _, err := fmt.Sscan(rest, &id, &key, &value); err != nil {
				return err
			}
			err = p.set(id, key, value)
		} else {
			answer, err = p.value(strings.TrimPrefix(line, "get "))
		}
		c.Say("%s %v", answer, err)
	}
	return p.close()
}

// TestCachedReadsFollowCommits has two processes read a row from one cache, and write it through one queue: both read a new
// value as soon as its commit is acknowledged to either, and the old one before, and after a write that fails.
func TestCachedReadsFollowCommits(t *testing.T) {
	p := newPlace(t)
	srv, _ := private()
	cfg := instancetest.Config(t, "posix")
	instancetest.Start(t, cfg)
	other := proctest.Start(t, "cached", cfg.Dir, srv.dsn(), p.config.RuntimeParams["search_path"])
	other.Expect("ready")
	ask := func(format string, args ...any) string {
		other.Send(format, args...)
		line, _ := other.Line()
		return line
	}
	if line := ask("set 1 a 1"); line != " <nil>" { // so it leads
		t.Fatal(line)
	}
	own, err := openCached(instancetest.Open(t, cfg), p.config)
	if err != nil {
		t.Fatal(err)
	}
	both := func(when string, want int64) {
		t.Helper()
		if line := ask("get a"); line != fmt.Sprint(want, " <nil>") {
			t.Errorf("%s: the other process reads %q, not %d", when, line, want)
		}
		if v, err := own.value("a"); err != nil || v != fmt.Sprint(want) {
			t.Errorf("%s: this process reads %q, %v, not %d", when, v, err, want)
		}
	}
	both("written by the other", 1)
	p.exec(t, "UPDATE rows SET value = 50")
	both("changed by a stranger", 1) // which is how one sees that it comes from the cache
	p.exec(t, "UPDATE rows SET value = 1")
	p.exec(t, "BEGIN")
	p.exec(t, "LOCK TABLE rows IN EXCLUSIVE MODE") // reads go on
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := own.set(2, "a", 2); err != nil {
			t.Error(err)
		}
	})
	for waits := false; !waits; {
		if err := p.admin.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)").Scan(&waits); err != nil {
			t.Fatal(err)
		}
		both("not committed yet", 1)
	}
	p.exec(t, "COMMIT")
	wg.Wait()
	both("committed", 2)
	if err := own.set(3, "a", -1); batch.ExecutedOf(err) != batch.No {
		t.Errorf("a value that the table refuses: %v", err)
	}
	both("refused", 2)
	for n := range int64(20) {
		if line := ask("set %d a %d", 100+n, 100+n); line != " <nil>" {
			t.Fatal(line)
		}
		both("written by the other", 100+n)
		if err := own.set(200+int(n), "a", 200+n); err != nil {
			t.Fatal(err)
		}
		both("written here", 200+n)
	}
	other.Kill() // it has led
	if err := own.set(300, "a", 300); err != nil {
		t.Fatal(err)
	}
	if v, err := own.value("a"); err != nil || v != "300" {
		t.Errorf("after the death of the leader: %q, %v", v, err)
	}
	if err := own.close(); err != nil {
		t.Error(err)
	}
}
