package mq_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/supervisor"
)

// One process sends messages, another one receives them.
func Example() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		seg, err := s.Create(ctx, nil, mq.Size(4096))
		if err != nil {
			return err
		}
		q, err := mq.Create(seg.Region())
		if err != nil {
			return err
		}
		go func() { // another process, which has attached the segment
			q, err := mq.Attach(seg.Region())
			if err != nil {
				log.Fatal(err)
			}
			to, err := q.Sender(s.Self())
			if err != nil {
				log.Fatal(err)
			}
			defer to.Detach()
			for _, m := range []string{"shared", "by", "two"} {
				if err := to.Send(ctx, []byte(m)); err != nil {
					log.Fatal(err)
				}
			}
		}()
		from, err := q.Receiver(s.Self())
		if err != nil {
			return err
		}
		for m, err := range from.All(ctx) {
			if err != nil {
				return err
			}
			fmt.Println(string(m))
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// shared
	// by
	// two
}

// ends makes a queue and returns both of its ends.
func ends(ctx context.Context, s *dsm.Session) (*mq.Sender, *mq.Receiver, error) {
	seg, err := s.Create(ctx, nil, mq.Size(4096))
	if err != nil {
		return nil, nil, err
	}
	q, err := mq.Create(seg.Region())
	if err != nil {
		return nil, nil, err
	}
	to, err := q.Sender(s.Self())
	if err != nil {
		return nil, nil, err
	}
	from, err := q.Receiver(s.Self())
	return to, from, err
}

// One goroutine receives from several senders in one wait.
func ExampleNewMany() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		many := mq.NewMany()
		for i := range 3 {
			to, from, err := ends(ctx, s)
			if err != nil {
				return err
			}
			many.Add(from)
			if err := to.Send(ctx, []byte{byte(i)}); err != nil {
				return err
			}
			to.Detach()
		}
		sum := 0
		for many.Len() > 0 {
			_, m, err := many.Receive(ctx)
			if err == nil { // else that receiver has come to its end
				sum += int(m[0])
			}
		}
		fmt.Println(sum)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 3
}

// Two queues are a connection: each side sends on one and receives on the other.
func ExampleNewConn() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		ask, asked, err := ends(ctx, s)
		if err != nil {
			return err
		}
		answer, answered, err := ends(ctx, s)
		if err != nil {
			return err
		}
		client, err := mq.NewConn(ask, answered)
		if err != nil {
			return err
		}
		server, err := mq.NewConn(answer, asked) // in another process
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(server, server)
			_ = server.Close()
		}()
		fmt.Fprint(client, "echo")
		if err := client.CloseWrite(); err != nil {
			return err
		}
		b, err := io.ReadAll(client)
		fmt.Println(string(b), err)
		return client.Close()
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: echo <nil>
}
