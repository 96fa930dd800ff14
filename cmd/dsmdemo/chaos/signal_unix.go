//go:build unix

package chaos

import (
	"os/exec"
	"syscall"

	"github.com/godsm/godsm/internal/sys/liveness"
)

const canStop = true

// aside keeps what is typed at the terminal from the process: a Ctrl-C is for the run to end in order.
func aside(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func (p *process) freeze() { _ = p.Process.Signal(syscall.SIGSTOP) }

func (p *process) thaw() { _ = p.Process.Signal(syscall.SIGCONT) }

// frozen reports whether the stop has come about.
func (p *process) frozen() bool { return liveness.Stopped(p.Pid()) }
