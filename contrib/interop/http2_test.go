package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/internal/testing/proctest"
)

func serveHTTP(c *proctest.Child) error {
	l, err := listen(c)
	if err != nil {
		return err
	}
	server := http.Server{Handler: http.HandlerFunc(answer), Protocols: protocols(true)}
	c.Say("serves")
	go func() {
		c.Hear()
		_ = server.Shutdown(ctx)
	}()
	if err := server.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// answer sends back what the request has, as it comes; or many bytes if it has nothing.
func answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Protocol", r.Proto)
	if r.Method == http.MethodGet {
		_, _ = w.Write(many)
		return
	}
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex()
	buf := make([]byte, 16<<10)
	for {
		n, err := r.Body.Read(buf)
		if _, werr := w.Write(buf[:n]); err != nil || werr != nil {
			return
		}
		_ = rc.Flush()
	}
}

var many = bytes.Repeat([]byte("0123456789"), 100<<10)

func protocols(two bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(two)
	return p
}

// transport dials the server over s, by version 1 or 2 alone.
func transport(s *dsm.Session, two bool) *http.Transport {
	p := new(http.Protocols)
	p.SetHTTP1(!two)
	p.SetUnencryptedHTTP2(two)
	return &http.Transport{Protocols: p, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dsmnet.Dial(ctx, s, "api")
	}}
}

// TestHTTP: requests by many goroutines, small and large, by HTTP/1.1 and HTTP/2, and answers through a reverse proxy of
// each.
func TestHTTP(t *testing.T) {
	s, p := start(t, "http server")
	for _, two := range []bool{false, true} {
		t.Run(fmt.Sprint("version 2 ", two), func(t *testing.T) {
			direct := transport(s, two)
			defer direct.CloseIdleConnections()
			requests(t, direct, two)

			l, err := dsmnet.Listen(ctx, s, "proxy")
			if err != nil {
				t.Fatal(err)
			}
			proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "api"})
			proxy.Transport = direct
			server := http.Server{Handler: proxy, Protocols: protocols(true)}
			go func() { _ = server.Serve(l) }()
			through := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dsmnet.Dial(ctx, s, "proxy")
			}}
			for range 20 { // no more than that: a proxy of version 1 may cut an answer that begins before its request's end
				r, err := (&http.Client{Transport: through}).Get("http://proxy/")
				is(t, "through a proxy", err, nil)
				got, err := io.ReadAll(r.Body)
				is(t, "read", errors.Join(err, r.Body.Close()), nil)
				if !bytes.Equal(got, many) {
					t.Errorf("%d bytes of %d came", len(got), len(many))
				}
			}
			through.CloseIdleConnections()
			is(t, "shutdown", server.Shutdown(ctx), nil)
		})
	}
	p.Send("stop")
	is(t, "the server", p.Wait(), nil)
}

func requests(t *testing.T, transport http.RoundTripper, two bool) {
	t.Helper()
	c := http.Client{Transport: transport}
	protocol := "HTTP/1.1"
	if two {
		protocol = "HTTP/2.0"
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 25 {
				body := strings.Repeat(fmt.Sprint("request ", i, " ", k, ";"), 1+k*k*k)
				r, err := c.Post("http://api/", "text/plain", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(r.Body)
				_ = r.Body.Close()
				if err != nil || !bytes.Equal(got, []byte(body)) || r.Header.Get("Protocol") != protocol {
					t.Errorf("%d bytes of %d came by %s, %v", len(got), len(body), r.Header.Get("Protocol"), err)
					return
				}
			}
		})
	}
	wg.Wait()
}
