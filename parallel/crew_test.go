package parallel

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/instancetest"
)

// TestCancelDeaf: a worker that reads nothing, as one that is stopped, can't keep its leader, however long the order is
// that waits in the pipe.
func TestCancelDeaf(t *testing.T) {
	orders, reports := pipe(t), pipe(t)
	cmd := exec.Command("sleep", "1000")
	cmd.ExtraFiles = []*os.File{orders[0], reports[1]}
	if err := cmd.Start(); err != nil {
		t.Skipf("skipped: %v", err)
	}
	orders[0].Close()
	reports[1].Close()
	m := &member{cmd: cmd, orders: orders[1], reports: reports[0], in: json.NewDecoder(reports[0]),
		out: json.NewEncoder(orders[1]), pid: cmd.Process.Pid}
	arg, _ := json.Marshal(make([]byte, 1<<20))
	cfg := instancetest.Config(t, "posix")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	c := &crew{task: "deaf", arg: arg, members: []*member{m}, session: s, owner: s.Owner()}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel) // before the order is written or in the middle of it
	if err := c.runParts(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("work = %v, want that it was cancelled", err)
	}
}

func pipe(t *testing.T) [2]*os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return [2]*os.File{r, w}
}
