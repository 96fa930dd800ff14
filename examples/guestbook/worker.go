package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/parallel"
)

// A command is what a request does in the database. It signs if it has a text, and counts otherwise.
type command struct {
	Text string `json:",omitempty"`
	Page string `json:",omitempty"`
	Add  int64  `json:",omitempty"`
}

// group returns the kind of statement.
func (c command) group() string {
	if c.Text != "" {
		return "sign"
	}
	return "count"
}

// asJSON is how commands lie in shared memory.
var asJSON = shared.Codec[command]{
	Append: func(b []byte, c command) ([]byte, error) {
		text, err := json.Marshal(c)
		return append(b, text...), err
	},
	Parse: func(b []byte) (c command, err error) { return c, json.Unmarshal(b, &c) },
}

var asText = shared.Codec[int64]{
	Append: func(b []byte, n int64) ([]byte, error) { return strconv.AppendInt(b, n, 10), nil },
	Parse:  func(b []byte) (int64, error) { return strconv.ParseInt(string(b), 10, 64) },
}

// rules: visits of one page are merged into one row of one statement; each caller's count follows from the sum.
var rules = batch.Rules[command, int64, string, string]{
	Group:   command.group,
	Key:     func(c command) (string, bool) { return c.group() + c.Text + c.Page, true },
	Compare: func(a, b command) int { return compare(a.Page, b.Page) },
	Merge: func(a, b command) (command, bool) {
		return command{Page: a.Page, Add: a.Add + b.Add}, a.Text == "" && b.Text == ""
	},
	Split: func(sum int64, cmds []command, results []int64) bool {
		for i := len(cmds) - 1; i >= 0; i-- {
			results[i] = sum
			sum -= cmds[i].Add
		}
		return true
	},
}

// dropFrom returns the rules with which what has been counted is dropped from a cache before it is acknowledged to any client.
func dropFrom(kept *cache.Cache) batch.Rules[command, int64, string, string] {
	r := rules
	r.Written = func(cmds []command) {
		for _, c := range cmds {
			if c.Text != "" {
				continue
			}
			if _, err := kept.Delete(context.Background(), []byte(c.Page)); err != nil {
				panic(err) // it is logged
			}
		}
	}
	return r
}

// through returns a function that reads the visits of a page from a cache of all processes, and has one of them ask the
// database for those that are not there.
func through(kept *cache.Cache, visits func(context.Context, string) (int64, error)) func(context.Context, string) (int64, error) {
	return func(ctx context.Context, page string) (int64, error) {
		v, err := kept.Load(ctx, []byte(page), nil, func(ctx context.Context) ([]byte, error) {
			n, err := visits(ctx, page)
			return strconv.AppendInt(nil, n, 10), err
		})
		if err != nil {
			return 0, err
		}
		return strconv.ParseInt(string(v), 10, 64)
	}
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// A writer executes commands.
type writer interface {
	Do(ctx context.Context, c command) (int64, error)
}

// worker is one of the processes. It tells where it listens.
var worker = parallel.Register("guestbook", func(ctx context.Context, w *parallel.Worker, p place) error {
	t, err := open(ctx, p)
	if err != nil {
		return err
	}
	defer t.close()
	leads := func() bool { return false }
	var write writer
	read := t.visits
	if p.Side == "batch" {
		kept, err := cache.Open(ctx, w.Session, "visits", cache.Options{Limit: 8 << 20})
		if err != nil {
			return err
		}
		read = through(kept, t.visits)
		q, err := shared.Open(ctx, w.Session, "guestbook", asJSON, asText, dropFrom(kept), t.driver,
			shared.Options{Lease: time.Second, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		defer func() { // it is not asked any more
			short, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			_ = q.Close(short)
		}()
		write, leads = q, q.Leads
	} else {
		n := 1
		if p.Side == "pool" {
			n = 32 / workers
		}
		if write, err = t.direct(ctx, n); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(out http.ResponseWriter, r *http.Request) { fmt.Fprintln(out, os.Getpid(), leads()) })
	mux.HandleFunc("POST /guests", func(out http.ResponseWriter, r *http.Request) {
		answer(out)(write.Do(r.Context(), command{Text: r.FormValue("text")}))
	})
	mux.HandleFunc("PUT /visits/{page}", func(out http.ResponseWriter, r *http.Request) {
		answer(out)(write.Do(r.Context(), command{Page: r.PathValue("page"), Add: 1}))
	})
	mux.HandleFunc("GET /visits/{page}", func(out http.ResponseWriter, r *http.Request) {
		answer(out)(read(r.Context(), r.PathValue("page")))
	})
	server := &http.Server{Handler: mux}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := w.Send(ctx, []byte(l.Addr().String())); err != nil {
		return err
	}
	return errors.Join(ctx.Err(), server.Serve(l))
})

// answer tells a client the outcome: 400 for a command that the database refuses, 503 if it is not known.
func answer(out http.ResponseWriter) func(int64, error) {
	return func(n int64, err error) {
		var e *batch.Error
		switch {
		case err == nil:
			fmt.Fprintln(out, n)
		case errors.As(err, &e) && e.Executed == batch.No && e.Class == batch.Row:
			http.Error(out, err.Error(), http.StatusBadRequest)
		default:
			http.Error(out, err.Error(), http.StatusServiceUnavailable)
		}
	}
}
