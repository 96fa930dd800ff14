// Command prefork serves HTTP from several processes that share one cache with a limit in bytes. One of them is killed
// in the middle of a request, which hurts nobody; then all are replaced, as a deploy does, and the new ones find the
// cache warm.
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

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/godsm/godsm/supervisor"
)

const (
	workers = 3
	pages   = 20000
	limit   = 8 << 20 // bytes of the cache: about a tenth of the pages
)

// page is what the origin would send: slow to make, and of a size of its own.
func page(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return []byte(strings.Repeat(fmt.Sprintf("page %s %x\n", name, sum), 6+int(sum[0])/6))
}

// cache is shared by all sessions of the instance, whoever of them comes and goes. All its memory, books
// included, is an area with a limit: so it never has a byte more, and no death can falsify a count.
type cache struct {
	*dshash.Bytes
	area *dsa.Area
}

func openCache(ctx context.Context, s *dsm.Session) (cache, error) {
	area, err := registry.Area(ctx, s, "cache", dsa.Options{Limit: limit})
	if err != nil {
		return cache{}, err
	}
	handle, err := registry.Segment(ctx, s, "cache's table", func(handle *dsa.Pointer) error {
		t, err := dshash.CreateBytes(area, dshash.Options{})
		if err == nil {
			*handle = t.Handle()
		}
		return err
	})
	if err != nil {
		return cache{}, err
	}
	table, err := dshash.AttachBytes(area, *handle, dshash.Options{})
	return cache{table, area}, err
}

// keep keeps a value. If there is no room, every eighth entry goes: a scan's order has nothing to do with
// the keys, so these are any. A cache may do without a value: there is no error.
func (c cache) keep(ctx context.Context, key string, value []byte) {
	for range 3 {
		if err := c.Set(ctx, []byte(key), value); !errors.Is(err, dsa.ErrNoMemory) {
			return
		}
		n := 0
		for e, err := range c.Scan(ctx, true) {
			if n++; err == nil && n%8 == 0 {
				_ = e.Delete()
			}
		}
		_ = c.area.Trim(ctx) // the room may be wanted for other sizes, in other processes
	}
}

// server is one of the processes. It tells the leader where it listens. In the old set the first one dies.
var server = parallel.Register("server", func(ctx context.Context, w *parallel.Worker, set string) error {
	cached, err := openCache(ctx, w.Session)
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
		name := r.URL.Path[1:]
		b, hit, _ := cached.Get(r.Context(), []byte(name), nil)
		if !hit {
			time.Sleep(500 * time.Microsecond) // the origin
			b = page(name)
			cached.keep(ctx, name, b)
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
	cached, err := openCache(ctx, s)
	if err != nil {
		return err
	}
	warm := map[string]float64{}
	for _, set := range []string{"old", "new"} {
		if warm[set], err = serve(ctx, s, set); err != nil {
			return err
		}
	}
	fmt.Printf("the cache: %d of %d pages in %d of %d bytes\n", cached.Len(), pages, cached.area.Total(), limit)
	if warm["new"] <= warm["old"] || cached.area.Total() > limit {
		return errors.New("the new processes found it cold, or it is larger than its limit")
	}
	return nil
}

// serve runs a set of servers, asks them for pages, and says how many percent of the first ones were in the cache.
func serve(ctx context.Context, s *dsm.Session, set string) (percent float64, err error) {
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
	if percent, err = c.ask(set, 400); err == nil {
		_, err = c.ask(set, 8000)
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
