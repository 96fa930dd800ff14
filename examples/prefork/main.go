// Command prefork serves HTTP from several processes that share one cache with a limit in bytes. It prints how many of each
// process's requests the cache has answered. One process is killed in the middle of a request, which hurts none of the others; then
// all are replaced, as a deployment does, and the new ones find the cache warm.
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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/supervisor"
)

const (
	workers = 3
	pages   = 20000
)

// options are those of the cache: it has room for about a tenth of the pages.
var options = cache.Options{Limit: 8 << 20, TTL: time.Hour}

// page returns what the origin would send: slow to make, and of a size of its own.
func page(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return []byte(strings.Repeat(fmt.Sprintf("page %s %x\n", name, sum), 6+int(sum[0])/6))
}

// server is one of the processes. It tells the leader where it listens. In the old set the first one dies.
var server = parallel.Register("server", func(ctx context.Context, w *parallel.Worker, set string) error {
	cached, err := cache.Open(ctx, w.Session, "pages", options)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // or one port for all, by SO_REUSEPORT
	if err != nil {
		return err
	}
	if err := w.Send(ctx, []byte(l.Addr().String())); err != nil {
		return err
	}
	var requests atomic.Int64
	context.AfterFunc(ctx, func() { _ = l.Close() })
	err = http.Serve(l, http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		name, hit := r.URL.Path[1:], true
		b, err := cached.Load(r.Context(), []byte(name), nil, func(context.Context) ([]byte, error) {
			hit = false
			time.Sleep(500 * time.Microsecond) // the origin
			return page(name), nil
		})
		if err != nil {
			http.Error(out, err.Error(), http.StatusInternalServerError)
			return
		}
		if requests.Add(1) == 500 && set == "old" && w.Index == 0 && w.Attempt == 0 {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
		}
		out.Header().Set("X-Cache", strconv.FormatBool(hit))
		_, _ = out.Write(b)
	}))
	return errors.Join(ctx.Err(), err)
})

func main() {
	log.SetFlags(0)
	parallel.Main()
	if err := supervisor.Run(context.Background(), dsm.Config{}, run); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, s *dsm.Session) error {
	cached, err := cache.Open(ctx, s, "pages", options)
	if err != nil {
		return err
	}
	defer cached.Close()
	warm := map[string]float64{}
	for _, set := range []string{"old", "new"} {
		if warm[set], err = serve(ctx, s, cached, set); err != nil {
			return err
		}
	}
	report, err := cached.Verify(ctx)
	if err != nil || len(report.Wrong) > 0 {
		return errors.Join(err, fmt.Errorf("the cache is spoilt: %v", report.Wrong))
	}
	fmt.Printf("the cache: %d of %d pages in %d of %d bytes\n", report.Entries, pages, report.Live, options.Limit)
	if warm["new"] <= warm["old"] {
		return errors.New("the new processes found it cold")
	}
	return nil
}

// serve runs a set of servers, asks them for pages, and says how many percent of the first ones were in the cache.
func serve(ctx context.Context, s *dsm.Session, cached *cache.Cache, set string) (percent float64, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var c client
	up, events := 0, make(chan error, 2) // nil when all of them are up, and how they ended
	listens := func(i int, address []byte) error {
		c.addresses[i].Store(string(address))
		if up++; up == workers {
			events <- nil
		}
		return nil
	}
	o := parallel.Options{Workers: workers, Retries: 1, Result: listens}
	go func() { events <- server.RunWith(ctx, s, o, set) }()
	if err := <-events; err != nil {
		return 0, err
	}
	percent, err = c.ask(set, 400)
	for range 2 {
		if err == nil {
			_, err = c.ask(set, 4000)
		}
		if err == nil {
			err = show(cached)
		}
	}
	if err == nil && set == "old" && c.again.Load() == 0 {
		err = errors.New("no server was killed while it was asked")
	}
	stop()
	if end := <-events; !errors.Is(end, context.Canceled) {
		err = errors.Join(err, end)
	}
	return percent, err
}

// show prints what each process has found in the cache, also one that is dead.
func show(cached *cache.Cache) error {
	time.Sleep(150 * time.Millisecond) // a process writes its counts down each tenth of a second
	stats, err := cached.Stats()
	for _, p := range stats.Sessions {
		state := "alive"
		if !p.Alive {
			state = "dead"
		}
		if p.Hits+p.Misses > 0 {
			fmt.Printf("  process %-8v %-5s  %4.1f %% of %5d lookups hit\n", p.Session, state, 100*p.HitRate(), p.Hits+p.Misses)
		}
	}
	return err
}

// client asks the servers, any of them.
type client struct {
	addresses [workers]atomic.Value // strings
	again     atomic.Int64          // requests that were sent again, as their server was dead
}

// ask asks for n pages, eight at a time and some far more often than others.
func (c *client) ask(set string, n int) (percent float64, err error) {
	var wg sync.WaitGroup
	var hits atomic.Int64
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			for range n / len(errs) {
				name := strconv.Itoa(int(math.Pow(pages, rand.Float64())))
				b, hit, err := c.get(name)
				for err != nil && c.again.Add(1) < 10000 {
					time.Sleep(time.Millisecond)
					b, hit, err = c.get(name)
				}
				if err != nil || string(b) != string(page(name)) {
					errs[i] = errors.Join(fmt.Errorf("page %s is not what it should be", name), err)
					return
				}
				if hit {
					hits.Add(1)
				}
			}
		})
	}
	wg.Wait()
	percent = 100 * float64(hits.Load()) / float64(n)
	fmt.Printf("%s processes: %2.0f %% of %4d pages were in the cache; %d requests sent again\n",
		set, percent, n, c.again.Load())
	return percent, errors.Join(errs...)
}

func (c *client) get(name string) (b []byte, hit bool, err error) {
	resp, err := http.Get(fmt.Sprintf("http://%s/%s", c.addresses[rand.IntN(workers)].Load(), name))
	if err != nil {
		return nil, false, err
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(resp.Body)
	return b, resp.Header.Get("X-Cache") == "true", err
}
