// Package debian installs what a rival needs, where that needs no answer from a person.
package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Patience is for apt, all of it together.
const Patience = 150 * time.Second

// Install installs packages, if this is root and apt works in time; if not, the error says what to type.
func Install(ctx context.Context, packages ...string) error {
	line := append([]string{"install", "-y", "-q", "--no-install-recommends"}, packages...)
	hint := "apt-get " + strings.Join(line[:2], " ") + " " + strings.Join(packages, " ")
	if os.Getuid() != 0 {
		return fmt.Errorf("as root: %s", hint)
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("there is no apt-get; on Debian: %s", hint)
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	apt := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=60", "-o",
			"Acquire::Retries=0"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		// dpkg is not to stop in the middle of a package
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 20 * time.Second
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", hint, err, lastLine(out))
		}
		return nil
	}
	if apt(line...) == nil {
		return nil
	}
	if err := apt("update", "-q"); err != nil {
		return err
	}
	return apt(line...)
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
