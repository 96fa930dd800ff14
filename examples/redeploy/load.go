//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/dsm"
)

const (
	clients = 4
	window  = 1500 // requests whose hit rate is compared

	// tolerance is how far two rates of the same cache may lie apart by chance, in percent points: five times the
	// deviation of a window.
	tolerance = 5
	peakBar   = 1.1
)

// load asks the service for pages, all the time, and looks at its memory.
type load struct {
	url, dir string

	asked, hits, lost atomic.Int64
	first             atomic.Pointer[error] // of the requests that were lost
	peak              atomic.Uint64         // bytes of shared memory

	memory     uint64 // when the cache was warm
	generation uint64
	faults     []error
}

func newLoad(address, dir string) *load { return &load{url: "http://" + address + "/", dir: dir} }

// run runs the clients until stop is called. Every second one opens a connection for each request.
func (l *load) run() (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range clients {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: i%2 == 1}}
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := l.ask(client); err != nil {
					l.lost.Add(1)
					l.first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			if st, err := l.status(); err == nil {
				l.peak.Store(max(l.peak.Load(), st.Bytes+st.Reserved))
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	return func() error { cancel(); wg.Wait(); return nil }
}

// ask asks for a page, some far more often than others, and sees that it is the right one.
func (l *load) ask(client *http.Client) error {
	name := strconv.Itoa(int(math.Pow(pages, rand.Float64())))
	resp, err := client.Get(l.url + name)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(b) != string(page(name)) {
		return errors.Join(fmt.Errorf("page %s is not what it should be: %s", name, resp.Status), err)
	}
	if resp.Header.Get("X-Cache") == "true" {
		l.hits.Add(1)
	}
	l.asked.Add(1)
	return nil
}

// rate returns the hit rate of the next requests, in percent.
func (l *load) rate(n int64) (percent float64, err error) {
	asked, hits := l.asked.Load(), l.hits.Load()
	for l.asked.Load() < asked+n {
		if l.lost.Load() > 0 {
			return 0, fmt.Errorf("a request was lost: %w", *l.first.Load())
		}
		time.Sleep(time.Millisecond)
	}
	return 100 * float64(l.hits.Load()-hits) / float64(l.asked.Load()-asked), nil
}

func (l *load) status() (dsm.Status, error) {
	r, err := dsm.Inspect(context.Background(), dsm.Config{Dir: l.dir})
	return r.Status, err
}

// warm waits until the hit rate does not rise any more, and remembers how much memory that takes.
func (l *load) warm() error {
	for last := -1.0; ; {
		percent, err := l.rate(2 * window)
		if err != nil {
			return err
		}
		if percent < last+0.5 {
			break
		}
		last = percent
	}
	st, err := l.status()
	l.memory, l.generation = st.Bytes+st.Reserved, st.Generation
	fmt.Printf("warm after %d requests: %d workers, %d bytes of shared memory\n", l.asked.Load(), workers, l.memory)
	return err
}

// around measures what a step does to the service.
func (l *load) around(name string, step func() error) error {
	before, err := l.rate(window)
	if err != nil {
		return err
	}
	begin, asked := time.Now(), l.asked.Load()
	if err := step(); err != nil {
		return err
	}
	took, during := time.Since(begin), l.asked.Load()-asked
	after, err := l.rate(window)
	if err != nil {
		return err
	}
	fmt.Printf("%-50s %4d ms, %5d requests meanwhile, hit rate %.1f %% before, %.1f %% after\n",
		name, took.Milliseconds(), during, before, after)
	if after < before-tolerance {
		l.faults = append(l.faults, fmt.Errorf("%s: the cache was cold", name))
	}
	if st, err := l.status(); err != nil || st.Generation != l.generation || !st.Supervised {
		l.faults = append(l.faults, fmt.Errorf("%s: generation %d after %d, supervised %v, %w", name, st.Generation, l.generation,
			st.Supervised, err))
	}
	return nil
}

// verdict prints the counts, and is an error if one is wrong.
func (l *load) verdict() error {
	times := float64(l.peak.Load()) / float64(max(1, l.memory))
	fmt.Printf("%d requests, %d lost; memory's peak %.2f times what it was when the cache was warm\n", l.asked.Load(), l.lost.Load(), times)
	if n := l.lost.Load(); n > 0 {
		l.faults = append(l.faults, fmt.Errorf("%d requests were lost, the first one: %w", n, *l.first.Load()))
	}
	if times > peakBar {
		l.faults = append(l.faults, fmt.Errorf("the peak of memory is %.2f times what it was, and %.1f is allowed", times, peakBar))
	}
	return errors.Join(l.faults...)
}
