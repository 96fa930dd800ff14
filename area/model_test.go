package area_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
)

// TestModel: four processes allocate and free at random, also each other's objects; contents and numbers are right
// at each look, and when all is freed all memory is back.
func TestModel(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		if backend == "posix" && os.Getenv("DSM_TEST_BIG") == "" {
			t.Skip("skipped: takes more than 32 MB of the shm mount, and DSM_TEST_BIG is not set")
		}
		for _, checked := range []bool{false, true} {
			t.Run(fmt.Sprintf("checked=%v", checked), func(t *testing.T) {
				cfg := instancetest.Config(t, backend)
				instancetest.Start(t, cfg)
				s := instancetest.Open(t, cfg)
				a, err := area.Create(ctx, s, s.Owner(), dsa.Options{Checked: checked, Keep: -1})
				if err != nil {
					t.Fatal(err)
				}
				var players [4]*proctest.Process
				for i := range players {
					players[i] = proctest.Start(t, "player", cfg.Dir, area.Handle(a).String(), strconv.Itoa(i))
					players[i].Expect("ready")
				}
				all := func(what string) {
					for _, p := range players {
						p.Send("%s", what)
					}
				}
				rounds := 6
				if testing.Short() {
					rounds = 2
				}
				for range rounds {
					all("play 2000")
					objects, size := 0, 0
					for _, p := range players {
						var n, m int
						if _, err := fmt.Sscan(p.Expect("has"), &n, &m); err != nil {
							t.Fatal(err)
						}
						objects += n
						size += m
					}
					rep := clean(t, a)
					if rep.Objects != objects || rep.Used < int64(size) {
						t.Fatalf("%d objects of %d bytes, not %d of %d", rep.Objects, rep.Used, objects, size)
					}
					for i, p := range players {
						p.Send("give")
						gifts := p.Expect("gifts")
						players[(i+1)%len(players)].Send("take %s", gifts)
						players[(i+1)%len(players)].Expect("has")
					}
				}
				all("free")
				for _, p := range players {
					p.Expect("has 0 0")
				}
				all("trim")
				for _, p := range players {
					p.Expect("has")
				}
				all("trim") // what the others had given back
				for _, p := range players {
					p.Expect("has")
				}
				if err := a.Trim(ctx); err != nil {
					t.Fatal(err)
				}
				if rep := clean(t, a); rep.Objects != 0 || rep.Used != 0 || rep.Segments != 1 || rep.Sessions != 5 {
					_ = a.Dump(ctx, os.Stderr)
					t.Errorf("emptied: %+v", rep)
				}
				all("detach")
				for _, p := range players {
					p.Expect("has")
				}
				if err := a.Detach(); err != nil {
					t.Error(err)
				}
				noneLeft(t, cfg)
			})
		}
	})
}
