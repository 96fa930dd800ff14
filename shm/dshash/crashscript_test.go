//go:build linux && failpoint

package dshash_test

import (
	"fmt"
	"maps"

	"github.com/godsm/godsm/shm/dshash"
)

// step is one change to one table, so that after a death the tables are as after some step or the next.
type step struct {
	bytes bool
	what  string
	k, n  uint64
}

// fullFrom is the step from which on there is no memory in the scenario full.
const fullFrom = 2 * 40

// script comes to every point that who uses tables can come to.
func script(scenario string) (list []step) {
	both := func(what string, k, n uint64) {
		list = append(list, step{false, what, k, n}, step{true, what, k, n})
	}
	if scenario == "full" {
		for k := range uint64(40) {
			both("set", k, k)
		}
		for k := range uint64(40) { // of the same length, or shorter
			both("set", k, k+33)
			both("update", k, k+66)
			both("grow", k, k+99)
		}
		return list
	}
	for k := range uint64(60) {
		both("set", k, k)
	}
	for k := range uint64(20) {
		both("set", k, k+1) // of the same size, or another
		both("update", k+20, k+7)
		both("grow", k+30, k*77)
		both("discard", k+10, 5)
		both("discard", k+100, 5)
	}
	for k := range uint64(55) {
		both("delete", k, 0)
		if k%8 == 0 {
			both("insert", k, k+3)
		}
	}
	for k := range uint64(60) {
		both("insert", k, k+5)
	}
	for k := range uint64(60) {
		both("delete", k+5, 0)
		both("get", k, 0)
	}
	for k := range uint64(60) {
		both("insert", k, k+5)
		both("get", k, 0)
	}
	both("scan", 3, 0)
	both("scan", 1, 0)
	return list
}

// length is of values in the table of bytes: some do not stay in a hand, one has chunks of its own.
func length(n uint64) int {
	switch {
	case n%11 == 0:
		return 3000
	case n == 7:
		return 300_000
	}
	return 20 + int(n%3)*60
}

func long(n uint64) []byte {
	b := make([]byte, length(n))
	for i := range b {
		b[i] = byte(n + uint64(i))
	}
	return b
}

func (s step) on(w world) error {
	if s.bytes {
		return s.onBytes(w.bs)
	}
	return s.onTable(w.tab)
}

func (s step) onTable(tab *dshash.Table[uint64, sealed]) error {
	switch s.what {
	case "set":
		return tab.Set(ctx, s.k, seal(s.n))
	case "delete":
		_, err := tab.Delete(ctx, s.k)
		return err
	case "get":
		_, _, err := tab.Get(ctx, s.k)
		return err
	case "scan":
		for e, err := range tab.Scan(ctx, true) {
			if err != nil {
				return err
			}
			if e.Key()%4 < s.k {
				if err := e.Delete(); err != nil {
					return err
				}
			}
		}
		return nil
	}
	e, found, err := tab.Insert(ctx, s.k)
	if err != nil {
		return err
	}
	defer e.Release()
	if s.what == "discard" && !found {
		return e.Delete()
	}
	v, err := e.Update()
	if err == nil {
		*v = seal(s.n)
	}
	return err
}

func (s step) onBytes(bs *dshash.Bytes) error {
	switch s.what {
	case "set":
		return bs.Set(ctx, name(s.k), long(s.n))
	case "delete":
		_, err := bs.Delete(ctx, name(s.k))
		return err
	case "get":
		_, _, err := bs.Get(ctx, name(s.k), nil)
		return err
	case "scan":
		for e, err := range bs.Scan(ctx, true) {
			if err != nil {
				return err
			}
			var k uint64
			if _, err := fmt.Sscanf(string(e.Key()), "%d", &k); err != nil {
				return err
			}
			if k%4 < s.k {
				if err := e.Delete(); err != nil {
					return err
				}
			}
		}
		return nil
	}
	e, found, err := bs.Insert(ctx, name(s.k), length(s.n))
	if err != nil {
		return err
	}
	defer e.Release()
	if s.what == "discard" && !found {
		return e.Delete()
	}
	if s.what == "grow" {
		if _, err := e.Update(5); err != nil {
			return err
		}
	}
	v, err := e.Update(length(s.n))
	copy(v, long(s.n))
	return err
}

// on the models it does the same.
func (s step) model(m map[uint64]uint64) {
	switch s.what {
	case "get":
	case "delete":
		delete(m, s.k)
	case "scan":
		maps.DeleteFunc(m, func(k, _ uint64) bool { return k%4 < s.k })
	case "discard":
		if _, there := m[s.k]; there {
			m[s.k] = s.n
		}
	default:
		m[s.k] = s.n
	}
}

// models are what the tables are after the first n steps, by key.
func models(scenario string, n uint64) (tab, bs map[uint64]uint64) {
	tab, bs = map[uint64]uint64{}, map[uint64]uint64{}
	for _, s := range script(scenario)[:n] {
		if s.bytes {
			s.model(bs)
		} else {
			s.model(tab)
		}
	}
	return tab, bs
}
