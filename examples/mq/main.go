// Command mq shows a message queue between two processes: the leader sends lines of very
// different lengths through a ring of 4 KiB, the worker receives them in place and sends back
// what it makes of them. At the end the worker kills itself, and the leader hears of it.
//
//	go run ./examples/mq
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log"
	"os"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/supervisor"
)

const (
	ring     = 4 << 10
	messages = 20000
	longest  = 10000 // longer than the ring
)

// queue returns the i-th queue of the segment.
func queue(seg *dsm.Segment, i int) (shm.Region, error) {
	return seg.Region().Sub(shm.Offset(i*mq.Size(ring)), mq.Size(ring))
}

// consumer is the worker process: it answers each message with its checksum.
var consumer = parallel.Register("consumer", func(ctx context.Context, w *parallel.Worker, h dsm.Handle) error {
	seg, err := w.Session.Attach(ctx, w.Owner, h)
	if err != nil {
		return err
	}
	work, errWork := attach(seg, 0)
	answers, errAnswers := attach(seg, 1)
	if err := errors.Join(errWork, errAnswers); err != nil {
		return err
	}
	in, errIn := work.Receiver(w.Session.Self())
	out, errOut := answers.Sender(w.Session.Self())
	if err := errors.Join(errIn, errOut); err != nil {
		return err
	}
	for n := 0; ; n++ {
		msg, err := in.Receive(ctx)
		if errors.Is(err, mq.ErrDetached) {
			_ = out.Send(ctx, fmt.Appendf(nil, "received %d messages, and now I die", n))
			_ = out.Flush()
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			select {} // until the signal arrives
		}
		if err != nil {
			return err
		}
		if err := out.Send(ctx, fmt.Appendf(nil, "%08x", crc32.ChecksumIEEE(msg))); err != nil {
			return err
		}
	}
})

func attach(seg *dsm.Segment, i int) (*mq.Queue, error) {
	r, err := queue(seg, i)
	if err != nil {
		return nil, err
	}
	return mq.Attach(r)
}

func create(seg *dsm.Segment, i int) (*mq.Queue, error) {
	r, err := queue(seg, i)
	if err != nil {
		return nil, err
	}
	return mq.Create(r)
}

func run(ctx context.Context, s *dsm.Session) error {
	seg, err := s.Create(ctx, s.Owner(), 2*mq.Size(ring))
	if err != nil {
		return err
	}
	work, errWork := create(seg, 0)
	answers, errAnswers := create(seg, 1)
	if err := errors.Join(errWork, errAnswers); err != nil {
		return err
	}
	out, errOut := work.Sender(s.Self())
	in, errIn := answers.Receiver(s.Self())
	if err := errors.Join(errOut, errIn); err != nil {
		return err
	}
	ended := make(chan error, 1)
	running, stopped := context.WithCancel(ctx)
	go func() {
		ended <- consumer.Run(ctx, s, 1, seg.Handle())
		stopped()
	}()
	// From here on its death ends a wait; before, the queue does not know which process it will be.
	if err := in.WaitAttach(running); err != nil {
		return errors.Join(errors.New("the worker never came"), <-ended)
	}
	sent := make(chan error, 1)
	go func() { sent <- produce(ctx, out) }()

	right := 0
	for n := 0; ; n++ {
		answer, err := in.Receive(ctx)
		if errors.Is(err, mq.ErrPeerDied) {
			fmt.Println("the queue says:", err)
			break
		}
		if err != nil {
			return err
		}
		if n == messages {
			fmt.Printf("the worker says: %s\n", answer)
			continue
		}
		if string(answer) == fmt.Sprintf("%08x", crc32.ChecksumIEEE(message(n))) {
			right++
		}
	}
	fmt.Println("the worker's end:", <-ended)
	fmt.Printf("%d of %d answers were right\n", right, messages)
	if right != messages {
		return errors.New("messages were lost")
	}
	return <-sent
}

// produce sends all messages. Without Flush they go out a quarter of the ring at a time.
func produce(ctx context.Context, out *mq.Sender) error {
	for n := range messages {
		if err := out.Send(ctx, message(n)); err != nil {
			return err
		}
	}
	out.Detach() // flushes
	return nil
}

// message returns the n-th: lengths go from 0 to beyond the ring's size.
func message(n int) []byte {
	length := n % 50
	if n%100 == 0 {
		length = n * 7 % longest
	}
	return bytes.Repeat([]byte{byte('a' + n%26)}, length)
}

func main() {
	parallel.Main() // in the worker this runs consumer and never returns
	if err := supervisor.Run(context.Background(), dsm.Config{}, run); err != nil {
		log.Fatal(err)
	}
}
