//go:build linux

package mq_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/internal/testing/proctest"
)

func init() { proctest.Register("httpserver", httpServerHelper) }

// httpServerHelper serves over shared memory (connections at queues 0, 2, ...) or a unix socket.
func httpServerHelper(c *proctest.Child) error {
	s, err := onStage(c)
	if err != nil {
		return err
	}
	var l net.Listener
	if c.Args[4] == "unix" {
		if l, err = net.Listen("unix", filepath.Join(s.dir, "socket")); err != nil {
			return err
		}
	} else {
		var conns []net.Conn
		for i := 0; i < s.n; i += 2 {
			conns = append(conns, s.conn(i, false))
		}
		l = listen(conns...)
	}
	c.Say("ready")
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
}

// BenchmarkHTTP is requests of net/http by some clients at once, over shared memory and over a unix socket.
func BenchmarkHTTP(b *testing.B) {
	for _, clients := range []int{1, 4} {
		for _, over := range []string{"mq", "unix"} {
			b.Run(fmt.Sprintf("clients=%d/%s", clients, over), func(b *testing.B) {
				proctest.Pinned(b, func(b *testing.B, pin func(*proctest.Process)) {
					s := newStage(b, 2*clients, 64<<10)
					pin(s.start(b, "httpserver", 1, over))
					var next atomic.Int32
					dial := func(context.Context, string, string) (net.Conn, error) {
						if over == "unix" {
							return net.Dial("unix", filepath.Join(s.dir, "socket"))
						}
						return s.conn(int(next.Add(2)-2), true), nil
					}
					client := http.Client{Transport: &http.Transport{
						DialContext: dial, MaxConnsPerHost: clients, MaxIdleConnsPerHost: clients,
					}}
					defer client.CloseIdleConnections()
					b.SetParallelism(max(clients/2, 1))
					get := func() {
						resp, err := client.Get("http://server/")
						if err != nil {
							b.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
					get()
					if clients == 1 {
						for b.Loop() {
							get()
						}
						return
					}
					b.RunParallel(func(p *testing.PB) {
						for p.Next() {
							get()
						}
					})
				})
			})
		}
	}
}
