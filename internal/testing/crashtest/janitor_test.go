//go:build linux

package crashtest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/godsm/godsm/dsmimpl/posix"
	"github.com/godsm/godsm/internal/instance"
	"github.com/rs/zerolog"
)

// The janitor is a process that outlives a test binary that is killed, or whose tests run out of time,
// and removes what that one's instances left. It gets each directory by a pipe, and sees the end of that.
const janitorVariable = "DSM_CRASHTEST_JANITOR"

var janitor = sync.OnceValue(func() io.Writer {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), janitorVariable+"=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // not the terminal's to interrupt
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return io.Discard
	}
	return in
})

func watchOver(dir string) { fmt.Fprintln(janitor(), dir) }

// tidyAfter is the janitor's work. The helpers need a moment to notice that their test is dead.
func tidyAfter() {
	var dirs []string
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		dirs = append(dirs, s.Text())
	}
	for range 10 {
		left := dirs[:0]
		for _, dir := range dirs {
			if _, err := os.Stat(dir); err == nil && !tidy(dir) {
				left = append(left, dir)
			}
		}
		if dirs = left; len(dirs) == 0 {
			return
		}
		time.Sleep(time.Second)
	}
}

// tidy removes what is left of the instances in a test's directory, and then the directory; false
// if a process lives there.
func tidy(dir string) bool {
	private, _ := filepath.Glob(filepath.Join(stateIn(dir), "dsm-private", "*"))
	for _, d := range append(private, dir) {
		if _, err := os.Stat(filepath.Join(d, "id")); err != nil {
			continue
		}
		b := instance.Backends{Custom: kept{posix.New()}}
		if _, err := instance.Clean(ctx, d, b, instance.Who("janitor"), zerolog.Nop()); err != nil {
			return false
		}
	}
	return os.RemoveAll(dir) == nil
}
