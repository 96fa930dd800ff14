// Command prefork serves HTTP from several processes that share one cache with a limit in bytes. One of them is killed in the middle, which hurts
// nobody; then all are replaced, as a deploy does, and the new ones find the cache warm.
//
//	go run ./examples/prefork
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/supervisor"
)

const (
	workers  = 3
	pages    = 20000
	requests = 8000 // a round
	limit    = 8 << 20
)

// page is what the origin would send: slow to make, and of a size of its own.
func page(n string) []byte {
	sum := sha256.Sum256([]byte(n))
	return []byte(strings.Repeat(fmt.Sprintf("page %s %x\n", n, sum), 6+int(sum[0])/6))
}

// server is one of the processes. It tells the leader where it listens and who it is.
var server = parallel.Register("server", func(ctx context.Context, w *parallel.Worker, generation string) error {
	c, err := openCache(ctx, w.Session, "cache", limit)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // or one port for all, by SO_REUSEPORT
	if err != nil {
		return err
	}
	if err := w.Send(ctx, fmt.Appendf(nil, "%d %s", os.Getpid(), l.Addr())); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{page}", func(w http.ResponseWriter, r *http.Request) {
		n := r.PathValue("page")
		b, hit := c.get(r.Context(), n)
		if !hit {
			time.Sleep(500 * time.Microsecond) // the origin
			b = page(n)
			c.set(context.WithoutCancel(r.Context()), n, b)
		}
		w.Header().Set("X-Cache", map[bool]string{true: "hit", false: "miss"}[hit])
		_, _ = w.Write(b)
	})
	srv := http.Server{Handler: mux}
	context.AfterFunc(ctx, func() { _ = srv.Shutdown(context.Background()) })
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
})

func main() {
	log.SetFlags(0)
	parallel.Main()
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		for _, generation := range []string{"old", "new"} {
			if err := serve(ctx, s, generation); err != nil {
				return err
			}
		}
		c, err := openCache(ctx, s, "cache", limit)
		if err != nil {
			return err
		}
		fmt.Printf("the cache holds %d of %d pages in %d of %d bytes; %d were let go\n", c.table.Len(), pages, c.area.Total(), limit, c.root.Evicted.Load())
		if c.area.Total() > limit {
			return errors.New("that is more than the limit")
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
}

// set is the processes of one generation, as the leader knows them.
type set struct {
	mu    sync.Mutex
	addrs [workers]string
	pids  [workers]int
	ready sync.WaitGroup
}

// serve runs a set of servers and asks them for pages.
func serve(ctx context.Context, s *dsm.Session, generation string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var now set
	now.ready.Add(workers)
	ended := make(chan error, 1)
	go func() {
		ended <- server.RunWith(ctx, s, parallel.Options{Workers: workers, Retries: 1, Result: func(i int, b []byte) error {
			now.mu.Lock()
			defer now.mu.Unlock()
			first := now.addrs[i] == ""
			_, err := fmt.Sscan(string(b), &now.pids[i], &now.addrs[i])
			if first {
				now.ready.Done()
			}
			return err
		}}, generation)
	}()
	ready := make(chan struct{})
	go func() { now.ready.Wait(); close(ready) }()
	select {
	case <-ready:
	case err := <-ended:
		return fmt.Errorf("the servers ended before all of them were ready (%w)", err)
	}
	early, err := now.ask(300)
	if err == nil && generation == "old" {
		fmt.Printf("%s processes: %2.0f %% of the first 300 pages were in the cache; one process is killed\n", generation, 100*early)
		victim, _ := os.FindProcess(now.pids[0])
		_ = victim.Kill()
	} else if err == nil {
		fmt.Printf("%s processes: %2.0f %% of the first 300 pages were in the cache\n", generation, 100*early)
	}
	var later float64
	if err == nil {
		later, err = now.ask(requests)
	}
	if err == nil {
		fmt.Printf("%s processes: %2.0f %% of the next %d\n", generation, 100*later, requests)
	}
	stop()
	if rerr := <-ended; rerr != nil && !errors.Is(rerr, context.Canceled) {
		return errors.Join(err, rerr)
	}
	return err
}

// ask asks for pages, some far more often than others, and says how many came from the cache. A server that has died is not asked again.
func (s *set) ask(n int) (hits float64, err error) {
	var wg sync.WaitGroup
	var count atomic.Int64
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			for k := 0; k < n/len(errs) && errs[i] == nil; k++ {
				hit, err := s.get(fmt.Sprint(int(math.Pow(pages, rand.Float64()))))
				if hit {
					count.Add(1)
				}
				errs[i] = err
			}
		})
	}
	wg.Wait()
	return float64(count.Load()) / float64(n), errors.Join(errs...)
}

func (s *set) get(name string) (hit bool, err error) {
	for range 100 {
		s.mu.Lock()
		addr := s.addrs[rand.IntN(workers)]
		s.mu.Unlock()
		resp, gerr := http.Get("http://" + addr + "/" + name)
		if err = gerr; err != nil {
			continue // it was killed
		}
		b, rerr := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err = rerr; err != nil {
			continue
		}
		if string(b) != string(page(name)) {
			return false, fmt.Errorf("page %s is not what it should be", name)
		}
		return resp.Header.Get("X-Cache") == "hit", nil
	}
	return false, err
}
