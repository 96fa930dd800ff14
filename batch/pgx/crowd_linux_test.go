package pgx_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

var (
	guests = flag.Int("guests", 40, "how many processes write, one after another and some at a time")
	wave   = flag.Int("wave", 20, "how many of them at a time")
)

func init() { proctest.Register("guest", guest) }

// guest is a process of a moment: it writes three rows, and says which were acknowledged: DIR NUMBER.
func guest(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	q, err := joinNotes(s, nil)
	if err != nil {
		return err
	}
	for i := range 3 {
		text := fmt.Sprint(c.Args[1], "-", i)
		id, err := q.Do(ctx, text)
		if err != nil {
			return err
		}
		c.Say("%s %d", text, id)
	}
	return q.Close(ctx)
}

// TestACrowdOfProcessesSharesOneWriter has many short-lived processes write through one connection of one process. One of ten
// is killed at some moment.
func TestACrowdOfProcessesSharesOneWriter(t *testing.T) {
	p := newPlace(t)
	p.exec(t, "CREATE TABLE notes (id bigserial, text text)")                      // not unique: what is written twice is there twice
	cfg := instancetest.Config(t, "posix", "max_processes", fmt.Sprint(2**wave+8)) // dead processes have their rows for a while
	instancetest.Start(t, cfg)
	q, err := joinNotes(instancetest.Open(t, cfg), func() (batch.Driver[string, int64], error) { return notes(p.config), nil })
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	told, killed := map[string]int64{}, 0
	turns := make(chan int)
	var crowd sync.WaitGroup
	for range *wave {
		crowd.Go(func() {
			for n := range turns {
				cmd := proctest.Command("guest", cfg.Dir, fmt.Sprint(n))
				var out, errs bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &errs
				kill := n%10 == 9
				if err := cmd.Start(); err != nil {
					t.Error(err)
					continue
				}
				if kill {
					time.AfterFunc(rand.N(300*time.Millisecond), func() { _ = cmd.Process.Kill() })
				}
				err := cmd.Wait()
				mu.Lock()
				if err != nil {
					if killed++; !kill {
						t.Errorf("process %d: %v: %s", n, err, errs.Bytes())
					}
				}
				lines := bufio.NewScanner(&out)
				for lines.Scan() {
					var id int64
					text, number, _ := strings.Cut(lines.Text(), " ")
					if _, err := fmt.Sscan(number, &id); err == nil && number != "" {
						told[text] = id
					}
				}
				mu.Unlock()
			}
		})
	}
	for n := range *guests {
		turns <- n
	}
	close(turns)
	crowd.Wait()
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
	rows, err := p.admin.Query(t.Context(), "SELECT text, id FROM notes")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	seen := map[string]int64{}
	for rows.Next() {
		var text string
		var id int64
		if err := rows.Scan(&text, &id); err != nil {
			t.Fatal(err)
		}
		if seen[text] != 0 {
			t.Errorf("%q was written twice", text)
		}
		seen[text] = id
	}
	for text, id := range told {
		if seen[text] != id {
			t.Errorf("%q was acknowledged with the id %d and has %d", text, id, seen[text])
		}
	}
	if n := 3 * (*guests - killed); rows.Err() != nil || len(seen) < n || len(told) < n {
		t.Errorf("%d rows, %d acknowledged, of %d or more; %v", len(seen), len(told), n, rows.Err())
	}
	t.Logf("%d processes, %d of them killed: %d rows, %d acknowledged", *guests, killed, len(seen), len(told))
}
