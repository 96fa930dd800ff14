package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const pages = 5 // that all visit

// load is the clients, and what they were told.
type load struct {
	addresses [workers]atomic.Value // strings
	up        chan struct{}
	http      http.Client
	next      atomic.Int64

	mu      sync.Mutex
	ready   int
	took    []time.Duration
	signed  map[string]bool  // texts that were acknowledged
	visits  map[string]int64 // acknowledged ones
	unknown map[string]int64 // visits of which the load does not know whether they count
	reads   int              // that were answered
	stale   int              // of these, those that missed a visit which had been acknowledged before
	refused int              // bad ones
	failed  int              // requests that a killed process has left without an answer
	wrong   error
}

func newLoad() *load {
	l := &load{up: make(chan struct{}), signed: map[string]bool{}, visits: map[string]int64{}, unknown: map[string]int64{}}
	l.http.Transport = &http.Transport{MaxIdleConnsPerHost: 1000}
	l.http.Timeout = time.Minute
	return l
}

// listens notes where a process listens. When all do, the load begins.
func (l *load) listens(i int, address []byte) error {
	l.addresses[i].Store(string(address))
	if l.ready++; l.ready == workers {
		close(l.up)
	}
	return nil
}

// run asks for a while, kills, and returns what is to be said of it.
func (l *load) run(ctx context.Context, t tables, locks bool) string {
	over := make(chan struct{})
	var wg sync.WaitGroup
	for range *clients {
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					l.one(ctx)
				}
			}
		})
	}
	began, kills, leaders := time.Now(), 0, 0
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for time.Since(began) < *span {
		select {
		case <-tick.C:
			if led, ok := l.kill(ctx, kills%2 == 0); ok {
				kills++
				if led {
					leaders++
				}
			}
		case <-time.After(max(0, *span-time.Since(began))):
		}
	}
	rate := float64(l.count()) / time.Since(began).Seconds()
	p50, p99 := l.at(50), l.at(99) // without those who wait for the lock below
	text := ""
	if locks {
		text = l.slow(ctx, t)
	}
	close(over)
	wg.Wait()
	return fmt.Sprintf("%6.0f writes/s, p50 %6.1f ms, p99 %6.1f ms; killed %d, %d of them led; %d refused, %d without an answer; %d reads, "+
		"%d of them stale%s", rate, p50, p99, kills, leaders, l.refused, l.failed, l.reads, l.stale, text)
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.took)
}

// at returns a percentile in ms.
func (l *load) at(percent int) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) == 0 {
		return 0
	}
	took := slices.Sorted(slices.Values(l.took))
	return took[len(took)*percent/100].Seconds() * 1000
}

// one asks once, and notes the answer.
func (l *load) one(ctx context.Context) {
	n := l.next.Add(1)
	text, page := fmt.Sprintf("guest %d was here", n), fmt.Sprint("page", rand.IntN(pages))
	began := time.Now()
	switch {
	case n%100 == 50:
		status, _, err := l.ask(ctx, http.MethodPost, "/guests", "bad")
		l.mu.Lock()
		defer l.mu.Unlock()
		if err == nil && status == http.StatusOK {
			l.wrong = errors.New("a bad row was taken")
		}
		l.refused++
	case n%10 < 6:
		status, _, err := l.ask(ctx, http.MethodPost, "/guests", text)
		l.mu.Lock()
		defer l.mu.Unlock()
		if err == nil && status == http.StatusOK {
			l.signed[text] = true
			l.took = append(l.took, time.Since(began))
		} else {
			l.failed++
		}
	case n%10 < 9:
		status, _, err := l.ask(ctx, http.MethodPut, "/visits/"+page, "")
		l.mu.Lock()
		defer l.mu.Unlock()
		if err == nil && status == http.StatusOK {
			l.visits[page]++
			l.took = append(l.took, time.Since(began))
		} else {
			l.failed++
			l.unknown[page]++
		}
	default:
		l.mu.Lock()
		least := l.visits[page]
		l.mu.Unlock()
		status, body, err := l.ask(ctx, http.MethodGet, "/visits/"+page, "")
		var count int64
		if _, e := fmt.Sscan(body, &count); err != nil || status != http.StatusOK || e != nil {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.reads++; count < least {
			l.stale++
		}
	}
}

// ask sends one request to any of the processes. It is not sent again: a repeat would be another one.
func (l *load) ask(ctx context.Context, method, path, text string) (status int, body string, err error) {
	var form io.Reader
	if text != "" {
		form = strings.NewReader(url.Values{"text": {text}}.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, method, fmt.Sprint("http://", l.addresses[rand.IntN(workers)].Load(), path), form)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.GetBody = nil // so that the transport does not repeat it either
	resp, err := l.http.Do(r)
	if err != nil {
		time.Sleep(time.Millisecond)
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// kill kills the process that leads, or one that does not; any if none leads.
func (l *load) kill(ctx context.Context, leader bool) (led, ok bool) {
	victim, led := 0, false
	for range 8 * workers {
		_, body, err := l.ask(ctx, http.MethodGet, "/health", "")
		var pid int
		var leads bool
		if _, e := fmt.Sscan(body, &pid, &leads); err != nil || e != nil {
			continue
		}
		victim, led = pid, leads
		if leads == leader {
			break
		}
	}
	p, err := os.FindProcess(victim)
	return led, victim > 0 && err == nil && p.Kill() == nil
}

// slow locks the database, and measures what does not need it.
func (l *load) slow(ctx context.Context, t tables) string {
	unlock, err := t.lock(ctx)
	if err != nil {
		return fmt.Sprint("; the lock: ", err)
	}
	var took []time.Duration
	for end := time.Now().Add(*locked); time.Now().Before(end); time.Sleep(time.Millisecond) {
		began := time.Now()
		if _, _, err := l.ask(ctx, http.MethodGet, "/health", ""); err == nil {
			took = append(took, time.Since(began))
		}
	}
	before := l.count()
	if err := unlock(); err != nil {
		return fmt.Sprint("; the lock: ", err)
	}
	for n := l.count(); n == before && ctx.Err() == nil; n = l.count() {
		time.Sleep(time.Millisecond)
	}
	slices.Sort(took)
	return fmt.Sprintf("\n        locked for %v: p99 of /health %v", *locked, took[len(took)*99/100].Round(10*time.Microsecond))
}

// reconcile compares what was acknowledged with the tables.
func (l *load) reconcile(ctx context.Context, t tables) (lost, doubled int, err error) {
	guests, err := t.guests(ctx)
	if err != nil {
		return 0, 0, err
	}
	for text := range l.signed {
		if guests[text] == 0 {
			lost++
		}
	}
	for _, n := range guests {
		if n > 1 {
			doubled++
		}
	}
	for i := range pages {
		page := fmt.Sprint("page", i)
		n, err := t.visits(ctx, page)
		if err != nil {
			return 0, 0, err
		}
		lost += int(max(0, l.visits[page]-n))
		doubled += int(max(0, n-l.visits[page]-l.unknown[page]))
	}
	if l.stale > 0 {
		return lost, doubled, errors.Join(l.wrong, errors.New("a read missed what had been acknowledged"))
	}
	return lost, doubled, l.wrong
}
