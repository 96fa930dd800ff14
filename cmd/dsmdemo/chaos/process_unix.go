//go:build unix

package chaos

import (
	"os/exec"
	"syscall"

	"github.com/godsm/godsm/internal/sys/liveness"
)

const canStop = true

// ownGroup starts the process in a process group of its own, so that a Ctrl-C at the terminal reaches the run alone, which
// then ends its processes in order.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func (p *process) freeze() { _ = p.Process.Signal(syscall.SIGSTOP) }

func (p *process) thaw() { _ = p.Process.Signal(syscall.SIGCONT) }

// frozen reports whether the stop has come about.
func (p *process) frozen() bool { return liveness.Stopped(p.Pid()) }
