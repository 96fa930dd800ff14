package supervisor_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/supervisor"
)

// One program owns an instance, which any program that knows its directory may join.
func ExampleStart() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cfg := supervisor.Config{Dir: dir, Settings: map[string]string{"max_memory": "64MB"}}
	sup, err := supervisor.Start(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}

	s, err := dsm.Open(ctx, dsm.Config{Dir: dir}) // another program
	if err != nil {
		log.Fatal(err)
	}
	st, err := s.Status(ctx)
	fmt.Println(st.MaxMemory>>20, "MB,", st.Sessions, "session,", err)
	fmt.Println(s.Close(), sup.Stop())
	// Output:
	// 64 MB, 1 session, <nil>
	// <nil> <nil>
}

// An instance of this program's own has a directory that goes with it. Run does the same around a function.
func ExampleStartPrivate() {
	ctx := context.Background()
	sup, err := supervisor.StartPrivate(ctx, supervisor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	st, err := sup.Status(ctx)
	if err != nil {
		log.Fatal(err)
	}
	s, err := dsm.Open(ctx, dsm.Config{Dir: st.Dir}) // the directory is what other processes are told
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(st.Private, s.Close(), sup.Stop())
	// Output: true <nil> <nil>
}
