package top

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/command/inspect"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/locktable"
)

func newTestModel(cfg dsm.Config) *model {
	return &model{ctx: context.Background(), config: cfg, sheets: sheets(), width: 160, height: 30, interval: time.Second}
}

// seen is the screen after another look.
func (m *model) seen() string {
	m.Update(m.look()())
	return m.draw()
}

func (m *model) keys(keys ...string) string {
	for _, k := range keys {
		msg := tea.KeyPressMsg{Text: k}
		switch k {
		case "enter":
			msg = tea.KeyPressMsg{Code: tea.KeyEnter}
		case "esc":
			msg = tea.KeyPressMsg{Code: tea.KeyEscape}
		case "down":
			msg = tea.KeyPressMsg{Code: tea.KeyDown}
		case "tab":
			msg = tea.KeyPressMsg{Code: tea.KeyTab}
		case " ":
			msg = tea.KeyPressMsg{Code: tea.KeySpace, Text: " "}
		}
		m.Update(msg)
	}
	return m.draw()
}

func shows(t *testing.T, screen string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(screen, w) {
			t.Errorf("no %q on\n%s", w, screen)
		}
	}
}

// TestScreen watches an instance with segments, a cache and locks, and works with keys.
func TestScreen(t *testing.T) {
	ctx, cfg := context.Background(), instancetest.Config(t, catalog.Default())
	cfg.Application = "worker"
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	var handles []string
	for i := range 40 {
		g, err := s.Create(ctx, s.Owner(), 1000+i)
		if err != nil {
			t.Fatal(err)
		}
		handles = append(handles, g.Handle().String())
	}
	c, err := cache.Open(ctx, s, "pages", cache.Options{Limit: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	table, err := locktable.Open(ctx, s, "storage", locktable.Options{})
	if err != nil {
		t.Fatal(err)
	}
	holder, owner := table.As(ctx, "the holder")
	defer owner.Done()
	if _, err := table.Lock(holder, locktable.Exclusive, "layers", "a"); err != nil {
		t.Fatal(err)
	}
	waiting, giveUp := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		waiter, owner := table.As(waiting, "the waiter")
		defer owner.Done()
		_, err := table.Lock(waiter, locktable.Shared, "layers", "a")
		done <- err
	}()
	defer func() { giveUp(); <-done }()

	m := newTestModel(cfg)
	shows(t, m.draw(), "looking ...")
	shows(t, m.seen(), cfg.Dir, "sessions 1 of", "[1 sessions]", "worker", "running", "BYTES↓")
	shows(t, m.keys("enter"), "segments that it holds:", handles[0], "locks:")
	shows(t, m.keys("G"), handles[39])
	m.keys("esc")
	screen := m.keys("2")
	shows(t, screen, "[2 segments]", "pages (cache)", "SIZE↓")
	if n := strings.Count(screen, "\n"); n != m.height-1 {
		t.Errorf("%d lines on a screen of %d", n+1, m.height)
	}
	shows(t, m.keys("/", "size<1005", "enter"), "filter: size<1005", handles[0], handles[4], "5 lines by size")
	shows(t, m.keys("/", "size<much", "enter"), "no number")
	m.keys("esc")
	shows(t, m.keys("esc", "r"), "SIZE↑")
	shows(t, m.keys("s"), "REFS↓")
	for range 3 {
		m.keys("down")
	}
	chosen := m.selected[1]
	if m.seen(); m.selected[1] != chosen || chosen == "" {
		t.Errorf("another look has changed what is chosen: %q", m.selected[1])
	}
	shows(t, m.keys("3"), "[3 names]", "storage", "pages")

	m.seen()
	if err := c.Set(ctx, []byte("k"), []byte("v"), cache.With{}); err != nil {
		t.Fatal(err)
	}
	for range 300 {
		if _, _, err := c.Get([]byte("k"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Stats(); err != nil { // the counts are in the memory
		t.Fatal(err)
	}
	shows(t, m.seen()+m.keys("4"), "[4 caches]", "100.0 %")
	if rows := m.sheet().all().([]cacheRow); len(rows) != 1 || rows[0].Lookups <= 0 || rows[0].Recent != 1 || rows[0].Sessions != 1 {
		t.Errorf("%+v", rows)
	}
	shows(t, m.keys("enter"), "of 4 MB", "lookups")

	m.keys("5")
	for !strings.Contains(m.draw(), "the waiter") {
		m.seen()
	}
	shows(t, m.draw(), "the holder", "the waiter", "holds", "exclusive", "1 waiting for locks")
	shows(t, m.keys("/", "state=waits", "enter", "enter"), "who waits for whom:", "the waiter", "holds exclusive")
	shows(t, m.keys("esc", "6"), "nothing here")
	shows(t, m.keys("?"), "choose a view")
	shows(t, m.keys("x", " "), "PAUSED")
	if m.Update(tea.WindowSizeMsg{Width: 30, Height: 5}); strings.Count(m.draw(), "\n") != 4 {
		t.Errorf("a screen of 5 lines:\n%s", m.draw())
	}
	if _, cmd := m.Update(tea.KeyPressMsg{Code: 'q', Text: "q"}); cmd == nil || cmd() != tea.Quit() {
		t.Error("q does not end it")
	}
}

// TestEventsOnTheScreen shows who joins and dies as it comes about, and how the instance ended.
func TestEventsOnTheScreen(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	cfg.Application = "worker"
	sup := instancetest.Start(t, cfg)
	m := newTestModel(cfg)
	m.seen()
	shows(t, m.keys("e"), "[7 events]", "TIME↓", "began")
	s, err := dsm.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	shows(t, m.seen(), "joined", "worker")
	shows(t, m.keys("/", "kind=joined", "enter", "enter"), "the session is running")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	shows(t, m.seen(), "the session is not there any more")
	shows(t, m.keys("esc", "esc"), "left", "began")
	if rows := m.sheet().all().([]inspect.EventRow); len(rows) != 3 || rows[0].Kind != "left" || rows[2].Kind != "began" {
		t.Errorf("%+v", rows)
	}
	if err := sup.Stop(); err != nil {
		t.Fatal(err)
	}
	shows(t, m.seen(), "since then:", "ended")
}

// TestScreenOfAnInstanceThatEnds keeps what was seen, says since when, and finds the next instance there.
func TestScreenOfAnInstanceThatEnds(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	m := newTestModel(cfg)
	shows(t, m.seen(), "no running instance")
	sup := instancetest.Start(t, cfg)
	m.keys("2")
	shows(t, m.seen(), "generation 1")
	if err := sup.Stop(); err != nil {
		t.Fatal(err)
	}
	shows(t, m.seen(), "generation 1", "since then:")
	shows(t, m.keys("1", "enter", "5", "enter", "down"), "since then:")
	instancetest.Start(t, cfg)
	shows(t, m.seen(), "generation 2")
}

// TestRatesBeginAnew: a count that went down is no negative rate, and without a time there is none.
func TestRatesBeginAnew(t *testing.T) {
	if got := fmt.Sprint(rate(5, 9, 1), rate(9, 5, 2), rate(9, 5, 0)); got != "0 2 0" {
		t.Error(got)
	}
}

// TestNarrowScreen: on 80 columns no line that tells of a chosen one loses its end, and the list of keys fits.
func TestNarrowScreen(t *testing.T) {
	const text = "  pid 14388 (a worker with a name of 32 bytes.) \"pull alpine\" wants exclusive; pid 14358 [stopped] (puller) holds exclusive"
	parts := wrap(text, 80)
	if len(parts) != 2 || strings.Join(strings.Fields(strings.Join(parts, " ")), " ") != strings.TrimSpace(text) {
		t.Errorf("%q", parts)
	}
	for _, l := range append(parts, keys...) {
		if len(l) > 80 {
			t.Errorf("a line of %d: %q", len(l), l)
		}
	}
	long := strings.Repeat("x", 200)
	if parts := wrap(long, 80); len(parts) != 1 {
		t.Errorf("%q", parts)
	}
	if parts := wrap("    "+long, 80); len(parts) != 1 {
		t.Errorf("%q", parts)
	}
}
