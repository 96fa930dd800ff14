package dsmnet_test

import (
	"bufio"
	"context"
	"fmt"
	"log"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/supervisor"
)

// A server listens by name, and a client of another process dials that name. Both are connections of package net.
func Example() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		l, err := dsmnet.Listen(ctx, s, "greeter")
		if err != nil {
			return err
		}
		defer l.Close()
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			line, _ := bufio.NewReader(c).ReadString('\n')
			fmt.Fprint(c, "hello ", line)
		}()

		c, err := dsmnet.Dial(ctx, s, "greeter") // a session of another process
		if err != nil {
			return err
		}
		defer c.Close()
		fmt.Fprintln(c, "world")
		line, err := bufio.NewReader(c).ReadString('\n')
		fmt.Print(line)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: hello world
}
