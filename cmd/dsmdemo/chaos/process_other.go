//go:build !unix

package chaos

import "os/exec"

// Nothing can be stopped here, only killed.
const canStop = false

func ownGroup(*exec.Cmd) {}

func (p *process) freeze() {}

func (p *process) thaw() {}

func (p *process) frozen() bool { return false }
