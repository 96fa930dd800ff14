// Package child starts processes of this program that are given orders on stdin and answer on stdout, a line each. It
// adds to os/exec only that; when they end, and what of, is their parent's business.
package child

import (
	"bufio"
	"io"
	"os/exec"
)

// Child is a process that was started.
type Child struct {
	*exec.Cmd
	Orders io.WriteCloser
	Says   *bufio.Scanner // lines of up to 1 MiB
}

// Start starts cmd with a pipe for its stdin and one for its stdout.
func Start(cmd *exec.Cmd) (*Child, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &Child{cmd, in, bufio.NewScanner(out)}
	c.Says.Buffer(nil, 1<<20)
	return c, nil
}

// Pid returns the process's.
func (c *Child) Pid() int { return c.Process.Pid }
